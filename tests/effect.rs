//! A sample of configurations has the same effect on the keepalived that is installed and on vipd, as both dumps tell it.
//! `tests/differential/effect.py` does it, by hand also over all that one has. Needs root, keepalived and python3.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn a_sample_of_configurations_has_the_same_effect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["nginx-pair/primary.conf", "nginx-pair/secondary.conf", "master-spare-daemon/spare.conf"];
    let mut command = Command::new("python3");
    command.arg(root.join("tests/differential/effect.py")).arg("-v");
    command.args(["--jobs", "2", "--ours", env!("CARGO_BIN_EXE_vipd")]);
    command.args(files.map(|file| root.join("conf-examples").join(file)));
    command.arg(root.join("tests/data/effect"));
    let Ok(output) = command.output() else {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "there is no python3");
        return println!("skipped: there is no python3");
    };
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(77) {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "skipped where it must not be: {said}");
        return println!("{said}");
    }
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("the same effect"), "{said}");
}
