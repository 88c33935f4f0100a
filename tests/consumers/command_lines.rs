//! Lines that name a command, made by chance: which of them the keepalived that is installed runs, and with which arguments, beside
//! what vipd reads in the same file.

use super::ORIGINAL;
use super::ground::{Ground, ready};
use std::collections::BTreeMap;
use std::path::Path;
use vipd::config::text::expand::TextEnv;
use vipd::config::{Env, load};
use vipd::kernel::files::OsLoader;
use vipd::kernel::system::LinuxSystem;
use vipd::random::Random;
use vipd::spec::Command;

/// Lines of a file: an instance each.
const LINES: usize = 250;

/// One line; `P` stands for the program.
fn line(random: &mut Random) -> String {
    let mut pick = |list: &[&str]| (*random.pick(list).unwrap()).to_owned();
    let any = ["a", "b", " ", " ", "\"", "'", "\\", "$", "\t"];
    let escapes =
        ["\\\"", "\\\\\"", "\\'", "\\\\", "\\ ", "\\n", "\\x41", "\\x4142", "\\102", "\\1", "\\cA", "\\0", "\\q"];
    let (begin, pieces, end): (_, &[&str], _) =
        match pick(&["any", "double", "double", "single", "user", "escaped", "escapes"]).as_str() {
            "any" => (pick(&["P", "\"P", "'P", "\\\"P", "\\'P"]), &any, ""),
            "double" => ("\"P ".into(), &any, "\""),
            "single" => ("'P ".into(), &any, "'"),
            "user" => ("\"P".into(), &any, "\" root"),
            "escaped" => (pick(&["\\\"P\\\"", "\"\\\"P\\\"", "'\\\"P\\\" "]), &any, ""),
            _ => (pick(&["P ", "\"P ", "'P ", "\"P a\" "]), &escapes, ""),
        };
    let middle: String = (0..pick(&["0", "1", "2", "4", "6", "8"]).parse().unwrap()).map(|_| pick(pieces)).collect();
    begin + &middle + end
}

/// Arguments by the number of the line that runs.
type Runs = BTreeMap<usize, Vec<String>>;

fn originals(ground: &Ground, out: &Path) -> (Runs, String) {
    let daemon = ground.start_program(Path::new(ORIGINAL), "-P");
    // They begin in the order of the file, so that all others run or have run when the last one has; each is there at once.
    daemon.wait_for("the last program", || out.join(format!("{LINES:03}")).exists());
    daemon.wait_for("the ends of all programs", || {
        let unfinished = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("by-");
        !std::fs::read_dir(out).unwrap().any(|entry| unfinished(entry.unwrap()))
    });
    let log = daemon.log_text();
    daemon.stop();
    let runs = std::fs::read_dir(out).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut arguments: Vec<String> = text.split('\0').map(str::to_owned).collect();
        assert_eq!(arguments.pop().as_deref(), Some(""), "{text:?}");
        (path.file_name().unwrap().to_str().unwrap().parse().unwrap(), arguments)
    });
    (runs.collect(), log)
}

fn ours(ground: &Ground) -> Runs {
    let system = LinuxSystem::new();
    let path = ground.directory.join("keepalived.conf");
    let (spec, _) = load(path.to_str().unwrap(), &Env { text: TextEnv::default(), system: &system }, &OsLoader);
    let spec = spec.unwrap();
    let runs = spec.instances.iter().enumerate().filter_map(|(number, instance)| {
        let Command::Exec { argv, .. } = &instance.notify.backup.as_ref()?.command else { return None };
        Some((number, argv.iter().skip(1).map(ToString::to_string).collect()))
    });
    runs.collect()
}

#[test]
fn command_lines_have_the_arguments_that_keepalived_gives_them() {
    if !ready() {
        return;
    }
    if !Path::new(ORIGINAL).exists() {
        assert!(std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs keepalived");
        return eprintln!("skipped: no keepalived");
    }
    let ground = Ground::new();
    let (programs, out) = (ground.directory.join("p"), ground.directory.join("out"));
    for directory in [&programs, &out] {
        std::fs::create_dir(directory).unwrap();
    }
    let show = format!(
        "n=${{0##*/}}; for a; do printf '%s\\0' \"$a\"; done > {0}/by-$$ && mv {0}/by-$$ {0}/$n",
        out.display()
    );
    let show = ground.program("show", &show);
    let mut random = Random::new(11);
    let mut lines: Vec<String> = (0..LINES).map(|_| line(&mut random)).collect();
    lines.push("P".into());
    let mut conf = "global_defs {\n script_user root\n}\n".to_owned();
    for (number, line) in lines.iter().enumerate() {
        let program = programs.join(format!("{number:03}"));
        std::fs::hard_link(&show, &program).unwrap();
        let line = line.replace('P', program.to_str().unwrap());
        conf += &format!(
            "vrrp_instance V{number} {{\n interface eth0\n virtual_router_id {}\n notify_backup {line}\n}}\n",
            number + 1
        );
    }
    ground.configure(&conf);
    let (theirs, log) = originals(&ground, &out);
    let ours = ground.inside(|| ours(&ground));
    assert!(theirs.len() > LINES / 4, "{} of {LINES} lines run at all", theirs.len());
    let mut differences = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let (their, own) = (theirs.get(&number), ours.get(&number));
        // What it cannot read is run as later ones read it.
        let program = format!("p/{number:03}");
        let unread = || {
            log.lines().any(|said| {
                said.contains(&program)
                    && (said.contains("missing terminating") || said.contains("Missing escape char"))
            })
        };
        if their != own && !(their.is_none() && unread()) {
            differences.push(format!("{line:?}: keepalived {their:?}, vipd {own:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
