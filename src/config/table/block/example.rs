//! How a keyword is written, out of its entry: the cure that a complaint about its line gives when it knows no better one.

/// `for example …` with a value that would do, or the form of the line where no value can be guessed.
///
/// `arguments` is the kind of value as [`Facts`](super::Facts) have it, `default` as the entry has it; a default that is
/// a value of that kind makes the example.
pub fn example(keyword: &str, arguments: &str, default: &str) -> String {
    match value(arguments, default) {
        Some(value) if value.is_empty() => format!("write `{keyword}` alone"),
        Some(value) => format!("for example `{keyword} {value}`"),
        None => format!("write `{keyword} {}`", form(arguments)),
    }
}

/// The arguments as one would write them, not as the listing has them: `STR[<=8]` is a word, a block is opened.
fn form(arguments: &str) -> String {
    let words = arguments.split(' ').map(|word| match word.split('[').next().unwrap_or(word) {
        "STR" => "WORD",
        "BLOCK" => "{",
        _ if word.starts_with("STR[") => "WORD",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn value(arguments: &str, default: &str) -> Option<String> {
    let arguments = arguments.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(arguments);
    // What follows a semicolon in a default are exceptions.
    let default = default.split([';', ',', ' ']).next().unwrap_or_default();
    let (kind, range) = match arguments.split_once('[') {
        Some((kind, range)) => (kind, range.split(']').next()),
        None => (arguments.split(' ').next().unwrap_or_default(), None),
    };
    let number = |text: &str| text.parse::<f64>().is_ok();
    match kind {
        "none" => Some(String::new()),
        "BOOL" => Some("on".to_owned()),
        _ if arguments.contains(" or ") && !arguments.contains(['(', '[', '.']) => {
            arguments.split(' ').next().filter(|first| !first.is_empty()).map(str::to_owned)
        }
        "UINT" | "INT" | "TIMER" | "DECIMAL" if number(default) => Some(default.to_owned()),
        "UINT" | "INT" | "TIMER" | "DECIMAL" => {
            let least = range?.split("..").next()?;
            let usual = if least.starts_with('-') || kind == "TIMER" { "1" } else { least };
            Some(usual.to_owned())
        }
        "IPADDR" | "IPADDR(mcast)" | "IPADDR(v4 mcast)" | "IPADDR(v6 mcast)" => {
            let mcast = arguments.contains("mcast");
            let v6 = arguments.contains("v6");
            Some(
                if v6 {
                    "ff02::12"
                } else if mcast {
                    "224.0.0.18"
                } else {
                    "192.0.2.1"
                }
                .to_owned(),
            )
        }
        "IFNAME" => Some("eth0".to_owned()),
        _ => None,
    }
}
