//! Lines that their block does not know: what was meant, where they belong, and when one mistake is behind many of them.
//!
//! What is said of such a line is decided by [`Cx::unknown`], a case after the other: the first that fits has the word. Nothing
//! is read here; a guess is a cure in a complaint, never a setting.

use crate::config::report::odd;
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::cx::{CUT_SHORT, ENDS_AROUND, named};
use crate::config::table::block::{Cx, meant};
use crate::config::table::{keywords, values};
use crate::config::text::tree::{Node, SURPLUS, undefined};

/// What a page put around the text is called among the spoilt lines.
const PAGE: &str = "a page";

/// Between the end of a line and the first word of the next one there are no more blanks.
const INDENTED: u32 = 128;

/// With so many complaints nothing is looked for any more: it takes time, and a file of rubbish has no use for it.
const RUBBISH: usize = 500;

/// A line that the block at `path` does not know; outside of all blocks `path` is empty.
#[derive(Clone, Copy)]
struct Stranger<'n> {
    path: &'n str,
    node: &'n Node<'n>,
}

impl Stranger<'_> {
    fn place(&self) -> String {
        if self.path.is_empty() { "outside all blocks".to_owned() } else { format!("in {}", self.path) }
    }

    fn complaint(&self, message: String) -> Diagnostic {
        let complaint = Diagnostic::new(Class::UnknownKeyword, self.node.keyword.span, message);
        if self.node.opens { complaint.label(ENDS_AROUND) } else { complaint }
    }

    /// The complaint of which no more is known than that the keyword is not one of these.
    fn unknown(&self) -> Diagnostic {
        let keyword = self.node.keyword.text;
        self.complaint(match self.path {
            "" => format!("unknown keyword `{keyword}` here, outside all blocks"),
            _ => format!("unknown keyword `{keyword}` {}", self.place()),
        })
    }

    /// Whether the line stands inside that block, however deep.
    fn is_inside(&self, block: &str) -> bool {
        self.path.strip_prefix(block).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether a `}` is missing above the line, if it belongs into the block `home`.
    fn lacks_a_brace(&self, home: &str) -> bool {
        if home.is_empty() { !self.path.is_empty() } else { self.is_inside(home) }
    }
}

/// What a block with a name was meant to be that stands outside of all others, though its keyword has none and belongs inside.
fn meant_outside(node: &Node<'_>) -> Option<String> {
    let name = node.args.first()?.text;
    Some(match node.keyword.text {
        "track_script" => {
            format!("write `vrrp_script {name} {{`, and `track_script {{ {name} }}` in the vrrp_instance")
        }
        "track_process" => {
            format!("write `vrrp_track_process {name} {{`, and `track_process {{ {name} }}` in the vrrp_instance")
        }
        "group" => format!(
            "for instances write `vrrp_sync_group {name} {{ group {{`; nothing groups virtual servers: remove the line and its `}}`"
        ),
        _ => return None,
    })
}

impl Cx<'_> {
    /// Complains about a line that the block at `path` does not know; `names` are the keywords that it knows. What another
    /// complaint has explained already is not said once more.
    pub(crate) fn unknown(&mut self, path: &str, node: &Node<'_>, names: &[&'static str]) {
        // What stands in the braces of a block that nobody knows has been said with that block.
        if let (true, Some(name)) = (node.stray, node.args.first()) {
            self.spoilt_lines.entry(named(node.keyword.text, name.text)).or_default().push(node.span.start);
        }
        if self.aborted || node.stray || self.diagnostics.counts_only(Class::UnknownKeyword) {
            return;
        }
        if self.is_definition(node) {
            return;
        }
        if node.opens {
            self.spoil_for(CUT_SHORT, node);
        }
        let line = Stranger { path, node };
        if self.diagnostics.list.len() > RUBBISH {
            return self.push(line.unknown());
        }
        let homes = keywords::homes(path, node.keyword.text);
        // What is right in another block is not misspelt.
        if self.follows_from_a_brace(line, &homes) {
            return;
        }
        if let Some(near) = meant::keyword(node, names) {
            return self.misspelt(line, near);
        }
        if !homes.is_empty() {
            return self.misplaced(line, &homes);
        }
        if let Some(cure) = undefined(node.keyword.text) {
            // It may stand for whatever the block lacks.
            self.spoil_for(CUT_SHORT, node);
            return self.push(line.unknown().help(cure));
        }
        self.of_no_block(line);
    }

    /// One brace explains a row of lines that belong to the block around this one, or to one that has just ended: true but for the
    /// first of them. Each other line in a wrong place is a mistake of its own, with its own cure.
    fn follows_from_a_brace(&mut self, line: Stranger<'_>, homes: &[&'static str]) -> bool {
        let behind = line.path.is_empty() && self.block.is_some();
        let around = |home: &str| home.is_empty() || line.is_inside(home);
        let by_brace: Vec<_> = homes.iter().copied().filter(|home| behind || around(home)).collect();
        !by_brace.is_empty() && self.is_stranded(&by_brace)
    }

    fn misspelt(&mut self, line: Stranger<'_>, near: &str) {
        // What the block lacks for it has been said with this.
        self.spoil_for(near, line.node);
        let help = match odd::look_alike(line.node.keyword.text) {
            Some(letter) => format!("did you mean `{near}`? {letter}"),
            None => format!("did you mean `{near}`?"),
        };
        self.push(line.unknown().help(help));
    }

    /// A keyword of other blocks, which are `homes`, the likeliest first.
    fn misplaced(&mut self, line: Stranger<'_>, homes: &[&'static str]) {
        let Stranger { path, node } = line;
        let keyword = node.keyword.text;
        let here = keywords::of_the_same_meaning(path, keyword);
        // An old spelling there too: the new one is the whole cure.
        if let Some(new) = here.filter(|new| keywords::is_renamed_to(keyword, new)) {
            let complaint = line.complaint(format!("`{keyword}` does not belong here, {}", line.place()));
            return self.push(complaint.help(format!("write `{new}`")));
        }
        let here = here.map(|here| format!(", or write `{here}` here"));
        let home: Vec<_> = homes.iter().map(|home| if home.is_empty() { "the top level" } else { home }).collect();
        let home = home.join(" or ");
        let mut complaint = line.complaint(format!("`{keyword}` does not belong here, {}", line.place()));
        complaint.label.get_or_insert(format!("a keyword of {home}"));
        // What only has its name from another subsystem is of no use there.
        let of_services = |block: &str| block.starts_with("virtual_server");
        if of_services(path)
            && !homes.iter().any(|home| home.is_empty() || of_services(home))
            && here.is_none()
            && !node.opens
        {
            return self.push(complaint.help("remove the line: a virtual server has no such setting"));
        }
        if path.is_empty()
            && self.block.is_none()
            && let Some(help) = meant_outside(node)
        {
            return self.push(complaint.help(help));
        }
        let brace = match homes {
            [home, ..] if !home.is_empty() && path.is_empty() && self.block.is_some() => {
                self.thrown_out = self.thrown_out.or(Some(node.keyword.span));
                ", or remove a `}` too many above it".to_owned()
            }
            [home, ..] if line.lacks_a_brace(home) => {
                let close =
                    format!("write the `}}` of `{}` that is missing above it", path.rsplit('/').next().unwrap_or(path));
                if let Some(open) = self.block.filter(|_| home.is_empty()) {
                    complaint = complaint.related(open, "the block that it is read as part of");
                }
                // A block that belongs outside of all others stands there already, to whoever wrote it.
                if home.is_empty() && node.opens {
                    return self.push(complaint.help(format!("{close}, or move it to the top level")));
                }
                format!(", or {close}")
            }
            _ => String::new(),
        };
        self.push(complaint.help(format!("move it to {home}{}{brace}", here.unwrap_or_default())));
    }

    /// A word that is no keyword anywhere: of a page around the text, of another program's file, or of a list without its own block.
    fn of_no_block(&mut self, line: Stranger<'_>) {
        let Stranger { path, node } = line;
        let keyword = node.keyword.text;
        let page = meant::is_of_page(keyword);
        // The one behind the text goes with the one in front.
        if page && self.spoilt(PAGE) {
            return;
        }
        if page {
            self.spoil_for(PAGE, node);
        }
        let help = match (meant::foreign(keyword), path) {
            (Some(cure), _) => cure.to_owned(),
            (_, "vrrp_sync_group" | "track_group") => {
                self.spoil_for("group", node);
                "names of instances stand in `group { … }`".to_owned()
            }
            _ if values::ip_address(values::without_range(keyword)).is_some() => {
                "an address stands in a list of its own, such as `virtual_ipaddress { … }`".to_owned()
            }
            (_, "") => "`vipctl keywords` lists all keywords".to_owned(),
            _ => format!("`vipctl keywords {path}` lists what can stand here"),
        };
        self.push(line.unknown().help(help));
    }

    /// Lets the complaint about this line stand for one about a line of that keyword.
    fn spoil_for(&mut self, keyword: &str, node: &Node<'_>) {
        self.spoilt_lines.entry(keyword.into()).or_default().push(node.span.start);
    }

    /// A `}` too many throws lines out of their block, and at the end one closes nothing: one mistake, said at the first line.
    pub(crate) fn join_surplus(&mut self) {
        let Some(first) = self.thrown_out else { return };
        let list = &mut self.diagnostics.list;
        let surplus = |d: &&Diagnostic| d.message == SURPLUS && d.span.is_some_and(|span| span.start > first.start);
        let mut found = list.iter().filter(surplus);
        let (Some(one), None) = (found.next().and_then(|d| d.span), found.next()) else { return };
        list.retain(|d| d.message != SURPLUS || d.span != Some(one));
        if let Some(told) = list.iter_mut().find(|d| d.span == Some(first)) {
            told.related.push((one, "so that this `}` closes nothing".into()));
        }
    }
    /// A blank before the `=` makes a definition none, and a mistake of each line that uses it: said once, at the blank.
    pub(crate) fn join_misdefined(&mut self) {
        let cures: Vec<String> = self.misdefined.iter().filter_map(|name| undefined(&format!("${name}"))).collect();
        self.diagnostics.list.retain(|told| told.help.as_ref().is_none_or(|help| !cures.contains(help)));
    }
    /// Takes a line that was meant to define a name, or goes on with the value of one; true when it is such a line.
    fn is_definition(&mut self, node: &Node<'_>) -> bool {
        let goes_on = self.runs_on.take().is_some_and(|end| node.span.start.saturating_sub(end) < INDENTED);
        let meant = node.keyword.text.strip_prefix('$').filter(|_| node.raw.starts_with('='));
        if !goes_on && meant.is_none() {
            return false;
        }
        self.runs_on = node.raw.ends_with('\\').then_some(node.raw_span.end);
        if let Some(name) = meant.filter(|_| !goes_on) {
            self.misdefined.push(name.into());
            let message = format!("`${name}` is not defined: a blank stands before its `=`");
            let complaint = Diagnostic::new(Class::UnknownKeyword, node.keyword.span, message);
            self.push(complaint.help(format!("write `${name}=VALUE`")));
        }
        true
    }
    /// Whether a line belongs to the same other block as the one before it, which has been complained about.
    fn is_stranded(&mut self, homes: &[&'static str]) -> bool {
        let told = self.stranded.iter().any(|home| homes.contains(home));
        match told {
            true => self.stranded.retain(|home| homes.contains(home)),
            false => self.stranded = homes.to_vec(),
        }
        told
    }
}
