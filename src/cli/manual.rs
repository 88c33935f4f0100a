//! Manual pages and completions: made from the command lines and the keyword table, so that they cannot lag behind.

use super::Outcome;
use super::Trouble;
use super::args::{ManPage, Program, Vipctl};
use super::keywords::{arguments, repetition, title};
use super::steer;
use crate::config::table::keywords::{Keyword, all};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

pub(crate) fn man(page: ManPage) -> Outcome {
    let text = match page {
        ManPage::Conf => conf(),
        ManPage::Vipctl => vipctl()?,
        ManPage::Vipd => vipd()?,
        ManPage::Genhash => genhash(),
        ManPage::Scenario => scenario(),
    };
    steer::print(&text)
}

pub(crate) fn completions(shell: Shell, program: Program) -> Outcome {
    let mut out = Vec::new();
    match program {
        Program::Vipctl => clap_complete::generate(shell, &mut visible(Vipctl::command()), "vipctl", &mut out),
        Program::Vipd => clap_complete::generate(shell, &mut super::vipd::command(), "vipd", &mut out),
    }
    steer::print(&String::from_utf8_lossy(&out))
}

/// The command line without what is only for developers and for packaging.
fn visible(command: Command) -> Command {
    let hidden: Vec<String> =
        command.get_subcommands().filter(|c| c.is_hide_set()).map(|c| c.get_name().into()).collect();
    let mut kept = Command::new("vipctl").disable_help_subcommand(true);
    if let Some(about) = command.get_about() {
        kept = kept.about(about.clone());
    }
    for arg in command.get_arguments() {
        kept = kept.arg(arg.clone());
    }
    for verb in command.get_subcommands().filter(|c| !hidden.contains(&c.get_name().to_owned())) {
        kept = kept.subcommand(verb.clone());
    }
    kept
}

const DATE: &str = "";

fn head(name: &str, section: u8, what: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH {} {section} \"{DATE}\" \"vipd {version}\" \"{}\"\n.nh\n.ad l\n.SH NAME\n{name} \\- {}\n",
        name.to_uppercase(),
        if section == 5 {
            "File formats"
        } else if section == 8 {
            "System administration"
        } else {
            "User commands"
        },
        roff(what),
    )
}

/// Text for roff: what would be an instruction or an escape is made harmless.
fn roff(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            out += "\\&";
        }
        for c in line.chars() {
            match c {
                '\\' => out += "\\e",
                '-' => out += "\\-",
                '`' => out += "\\(ga",
                '^' => out += "\\(ha",
                '~' => out += "\\(ti",
                '\'' => out += "\\(aq",
                c => out.push(c),
            }
        }
    }
    out
}

fn vipctl() -> Result<String, Trouble> {
    let mut out = head("vipctl", 1, "check, rehearse, watch and steer vipd, and any keepalived.conf");
    out += ".SH SYNOPSIS\n.B vipctl\n[\\fIOPTIONS\\fR] \\fIVERB\\fR [\\fIARGUMENTS\\fR]\n.SH DESCRIPTION\n";
    out += &roff(
        "vipctl looks at configurations before they are used (check, keywords, fmt), plays failures through (simulate in \
         virtual time, lab with real daemons in network namespaces), shows what a running daemon does and why (status, \
         watch, explain, history, bfd, servers, metrics), steers it (drain, undrain, failover, announce, reload, upgrade), looks for what is \
         wrong with the machine (doctor), and hears who speaks VRRP on a wire, without a daemon (listen).",
    );
    out += "\n.SH OPTIONS\n";
    let command = visible(Vipctl::command());
    out += &options(&command);
    out += ".SH VERBS\n";
    for verb in command.get_subcommands() {
        out += &format!(".SS vipctl {}", roff(verb.get_name()));
        for arg in verb.get_positionals() {
            let names: Vec<String> =
                arg.get_value_names().unwrap_or_default().iter().map(|n| n.as_str().to_owned()).collect();
            let name = if names.is_empty() { arg.get_id().as_str().to_uppercase() } else { names.join(" ") };
            let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
            let dots = if many { "..." } else { "" };
            out += &if arg.is_required_set() {
                format!(" {}{dots}", roff(&name))
            } else {
                format!(" [{}{dots}]", roff(&name))
            };
        }
        out.push('\n');
        if let Some(about) = verb.get_about() {
            out += &format!("{}.\n", roff(&about.to_string()));
        }
        out += &options(verb);
    }
    out += ".SH EXAMPLES\n";
    for (what, command) in EXAMPLES {
        out += &format!(".TP\n.B {}\n{}\n", roff(command), roff(what));
    }
    out += ".SH EXIT STATUS\n";
    out += &definition("0", "Yes: nothing is wrong, it has been done, or the rehearsal went well.");
    out += &definition("1", "No: the check found mistakes, or the rehearsal went wrong.");
    out += &definition("2", "It could not be asked: wrong arguments, no file, no daemon.");
    out += &definition(
        "4, 5, 6",
        "vipctl check with one file gives the exit code of keepalived \\-t: 4 an interface is missing, 5 mistakes, 6 script \
         security.",
    );
    out += ".SH ENVIRONMENT\n";
    out += &definition("VIPD_CONTROL", "Control socket of the daemon, as --control.");
    out += &definition("NO_COLOR", "No colour on a terminal, as --colour never.");
    out += ".SH FILES\n";
    out += &definition("/run/vipd/control.sock", "The daemon's control socket.");
    out += ".SH SEE ALSO\n.BR vipd (8),\n.BR vipd.conf (5),\n.BR vipd.scenario (5)\n";
    Ok(out)
}

fn options(command: &Command) -> String {
    let mut out = String::new();
    for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
        let help = arg.get_long_help().or(arg.get_help()).map(|h| h.to_string()).unwrap_or_default();
        if help.is_empty() && arg.is_positional() {
            continue;
        }
        let mut name = String::new();
        if let Some(short) = arg.get_short() {
            name += &format!("-{short}");
        }
        if let Some(long) = arg.get_long() {
            name += &format!("{}--{long}", if name.is_empty() { "" } else { ", " });
        }
        let values: Vec<&str> = arg.get_value_names().unwrap_or_default().iter().map(|v| v.as_str()).collect();
        if name.is_empty() {
            name = if values.is_empty() { arg.get_id().as_str().to_uppercase() } else { values.join(" ") };
        } else if arg.get_action().takes_values() && !values.is_empty() {
            name += &format!(" {}", values.join(" "));
        }
        let mut text = roff(help.trim_end());
        if text.ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')')) {
            text.push('.');
        }
        let possible: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        if arg.get_action().takes_values() && !possible.is_empty() {
            text += &format!("\nOne of {}.", roff(&possible.join(", ")));
        }
        let default: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
        if arg.get_action().takes_values() && !default.is_empty() {
            text += &format!("\nDefault: {}.", roff(&default.join(" ")));
        }
        out += &format!(".TP\n.B {}\n{}\n", roff(&name), text.trim_start_matches('\n'));
    }
    out
}

fn definition(name: &str, text: &str) -> String {
    format!(".TP\n.B {}\n{}\n", roff(name), roff(text))
}

fn vipd() -> Result<String, Trouble> {
    let mut out = head("vipd", 8, "keeps virtual IP addresses on a healthy server, as keepalived does");
    out += ".SH SYNOPSIS\n.B vipd\n[\\fIOPTION\\fR]...\n.SH DESCRIPTION\n";
    out += &roff(
        "vipd reads keepalived.conf, speaks VRRP version 2 and 3 with the other servers and holds the virtual addresses \
         while it is master. It takes the flags, signals, files and exit codes of keepalived 2.4.3.",
    );
    out += "\n.SH OPTIONS\n";
    out += &options(&super::vipd::command());
    out += ".SH SIGNALS\n";
    for (signal, text) in [
        ("SIGHUP", "Read the configuration again. With a mistake in it, the running one goes on."),
        ("SIGTERM, SIGINT", "Say priority 0, give the addresses up, end."),
        ("SIGUSR1", "Write the state to /tmp/keepalived.data."),
        ("SIGUSR2", "Write the counters to /tmp/keepalived.stats."),
        ("SIGRTMIN+2", "Write the state as JSON to /tmp/keepalived.json (vipd --signum=JSON prints the number)."),
        ("SIGRTMAX-1", "Clear the counters (vipd --signum=STATS_CLEAR prints the number)."),
    ] {
        out += &definition(signal, text);
    }
    out += ".SH EXIT STATUS\n";
    for (code, text) in [
        ("0", "A normal end."),
        ("1", "A fatal error."),
        ("2", "The configuration cannot be used."),
        ("4, 5, 6", "With -t: an interface is missing, mistakes were found, script security was violated."),
    ] {
        out += &definition(code, text);
    }
    out += ".SH FILES\n";
    for (file, text) in [
        ("/etc/keepalived/keepalived.conf", "The configuration, see vipd.conf(5)."),
        ("/etc/default/keepalived", "DAEMON_ARGS for the systemd unit."),
        ("/run/keepalived.pid, /run/vrrp.pid", "Process numbers."),
        ("/run/vipd/control.sock", "What vipctl(1) speaks to."),
    ] {
        out += &definition(file, text);
    }
    out += ".SH SEE ALSO\n.BR vipctl (1),\n.BR vipd.conf (5)\n";
    Ok(out)
}

fn genhash() -> String {
    let mut out = head("genhash", 1, "MD5 sum of a web page, for keepalived's HTTP_GET");
    out += ".SH SYNOPSIS\n.B genhash\n[\\fIOPTION\\fR]... \\-s \\fIADDRESS\\fR \\-p \\fIPORT\\fR \\-u \\fIURL\\fR\n";
    out += ".br\n.B vipd \\-\\-genhash\n[\\fIOPTION\\fR]... \\-s \\fIADDRESS\\fR \\-p \\fIPORT\\fR \\-u \\fIURL\\fR\n";
    out += ".SH DESCRIPTION\n";
    out += &roff(
        "genhash asks a web server for one page and prints the MD5 sum of it, which is what stands behind digest in HTTP_GET \
         and SSL_GET of vipd.conf(5). Everything behind the header counts, as it comes over the wire.",
    );
    out += "\n.SH OPTIONS\n";
    out += &options(&super::genhash::command());
    out += ".SH EXIT STATUS\n";
    out += &definition("0", "The sum has been printed.");
    out += &definition("1", "Wrong arguments, no connection, or no answer that is a page.");
    out += ".SH SEE ALSO\n.BR vipd (8),\n.BR vipd.conf (5)\n";
    out
}

fn conf() -> String {
    let mut out = head("vipd.conf", 5, "the configuration of vipd: keepalived.conf");
    out += ".SH DESCRIPTION\n";
    out += &roff(
        "The file is /etc/keepalived/keepalived.conf, in the language of keepalived 2.4.3. A line is a keyword and its \
         arguments; a block is a keyword, a name where it has one, and keywords between braces. Text after # or ! is a \
         comment. An argument with blanks stands in double quotes. This page lists every keyword; vipctl keywords \
         prints the same, vipctl check says what is wrong with a file.",
    );
    out += "\n.SH EXAMPLE\n.nf\n";
    for line in EXAMPLE.lines() {
        // An example keeps its indentation.
        let indent = line.len() - line.trim_start().len();
        out += &format!("{}{}\n", " ".repeat(indent), roff(line));
    }
    out += ".fi\n";
    let mut block = None;
    for k in all() {
        if block != Some(k.block) {
            out += &format!(".SH {}\n", roff(&title(k.block).to_uppercase()));
            block = Some(k.block);
        }
        out += &keyword(k);
    }
    out += ".SH SEE ALSO\n.BR vipd (8),\n.BR vipctl (1)\n";
    out
}

fn keyword(k: &Keyword) -> String {
    let mut text = roff(&k.doc);
    let mut sentences = Vec::new();
    if !matches!(k.default, "" | "-") {
        sentences.push(format!("Default: {}.", k.default));
    }
    sentences.push(format!("Repetition: {}.", repetition(k.repeat)));
    if k.status != "works" {
        sentences.push(format!("Status: {}.", k.status));
    }
    text += &format!("{}{}", if text.is_empty() { "" } else { "\n" }, roff(&sentences.join(" ")));
    let line = format!("\\fB{}\\fR {}", roff(k.keyword), roff(arguments(k)));
    format!(".TP\n{}\n{text}\n", line.trim_end())
}

/// What people want, and the command for it; a test parses each.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("Is the file right, and what does not fit between the two servers?", "vipctl check lb1.conf lb2.conf"),
    ("What happens when the master loses power, in virtual time.", "vipctl simulate lb1.conf lb2.conf --fail crash"),
    ("The same with real daemons in network namespaces.", "vipctl lab lb1.conf lb2.conf --fail crash"),
    ("Who holds what and why, with keys to drain and undrain.", "vipctl watch"),
    ("Is each address on exactly one of the servers?", "vipctl status --on lb1,lb2"),
    ("In a script: only on the master.", "vipctl is-master VI_1 && /usr/local/sbin/backup"),
    ("Why is this server not master?", "vipctl explain VI_1"),
    ("What happened last night?", "vipctl history VI_1"),
    ("Maintenance: hand over, stay backup over a reboot, come back.", "vipctl drain --keep; reboot; vipctl undrain"),
    (
        "Both are master: who speaks on the wire, and what does this file refuse of it?",
        "vipctl listen eth0 --config /etc/keepalived/keepalived.conf",
    ),
    ("Which VRID is free here?", "vipctl listen eth0 --for 10"),
    ("The same from a capture.", "vipctl listen --pcap vrrp.pcap --json"),
    ("Are the real servers of a file well, before it is used?", "vipctl probe /etc/keepalived/keepalived.conf"),
    ("What on this machine makes addresses vanish?", "vipctl doctor"),
];

/// docs/scenarios.md as a page, so that the language is described in one place.
fn scenario() -> String {
    let mut out = head("vipd.scenario", 5, "scenarios of vipctl simulate: what happens to simulated servers");
    out += ".SH DESCRIPTION\n";
    let mut verbatim = false;
    for line in SCENARIOS.lines().skip(1) {
        if line.starts_with("```") {
            verbatim = !verbatim;
            out += if verbatim { ".nf\n" } else { ".fi\n" };
        } else if verbatim {
            let indent = line.len() - line.trim_start().len();
            out += &format!("{}{}\n", " ".repeat(indent), roff(line));
        } else if line.is_empty() {
            out += ".PP\n";
        } else {
            let line = line.replace("[bounds.md](bounds.md)", "bounds.md").replace('`', "");
            out += &format!("{}\n", roff(&line));
        }
    }
    out += ".SH SEE ALSO\n.BR vipctl (1)\n";
    out
}

const SCENARIOS: &str = include_str!("../../docs/scenarios.md");

const EXAMPLE: &str = "\
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 150
    virtual_ipaddress {
        10.0.0.10/24
    }
}
";
