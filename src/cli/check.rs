//! `vipctl check`: the mistakes of each file, then what does not fit between several, then what will happen.

use super::args::{Check, Format};
use super::files::{Where, load};
use super::paint::Paint;
use super::{Outcome, steer};
use crate::config::diagnostic::{Class, Level, Style};
use std::process::ExitCode;

pub fn run(args: &Check) -> Outcome {
    // Several files are for several machines, and this is at most one of them.
    let place = if args.anywhere || args.files.len() > 1 { Where::Anywhere } else { Where::Here };
    let paint = Paint::stdout();
    let mut code = 0;
    let mut out = String::new();
    for file in &args.files {
        let (spec, mut diagnostics) = load(file, args.config_id.as_deref(), place)?;
        let warned = diagnostics.list.iter().any(|d| d.class.level() == Level::Warning);
        code = code.max(diagnostics.exit_code());
        if args.strict && warned {
            code = code.max(1);
        }
        if spec.is_none() {
            code = code.max(Class::Abort.exit_code());
        }
        match args.format {
            Format::Json => out += &diagnostics.show(Style::Json),
            Format::Text => {
                let shown = diagnostics.show(Style::Full { colour: paint.on() });
                if shown.is_empty() {
                    out += &format!("{}: {}\n", file.display(), paint.good("no mistakes"));
                } else {
                    out += &shown;
                }
            }
        }
        diagnostics.list.clear();
    }
    steer::print(&out)?;
    Ok(ExitCode::from(code))
}
