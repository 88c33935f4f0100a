//! No password and no key stands in any complaint, whatever is wrong with the lines around it.

#![allow(clippy::unwrap_used)]

use vipd::config::report::{Diagnostic, SECRET_KEYWORDS, Style};
use vipd::config::system::{Link, TableSystem};
use vipd::config::table::keywords;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load};
use vipd::observe::{changes, dump, json, snmp};
use vipd::spec::Spec;
use vipd::time::Time;
use vipd::vrrp::Engine;

fn machine() -> TableSystem {
    let mut system = TableSystem { assume_interfaces: false, ..TableSystem::anywhere() };
    system.interfaces.insert("eth0".into(), Link::ethernet("eth0"));
    system
}

/// What is said of a configuration, in every style.
fn said(files: MapLoader, environment: &[(&str, &str)]) -> String {
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let text = TextEnv { config_id: "test".into(), environment, ..TextEnv::default() };
    let system = machine();
    let (_, diagnostics) = load("/etc/keepalived.conf", &Env { text, system: &system }, &files);
    let styles = [Style::Full { colour: false }, Style::Full { colour: true }, Style::Plain, Style::Json];
    // Each as the only one that counts: what a reload that is refused says in one sentence.
    let alone = |one: &Diagnostic| diagnostics.first(|other| std::ptr::eq(one, other)).unwrap_or_default();
    let sentences: Vec<String> = diagnostics.list.iter().map(alone).collect();
    without_colours(&styles.map(|style| diagnostics.show(style)).concat()) + &sentences.concat()
}

/// What is shown without the signs that colour it: their `m` and a word behind it are none of a secret's letters.
fn without_colours(shown: &str) -> String {
    let mut parts = shown.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

fn one(text: &str) -> String {
    said(MapLoader::default().with("/etc/keepalived.conf", text), &[])
}

/// Any part of it that would help a guesser.
fn tells(said: &str, secret: &str) -> bool {
    tells_part(said, secret, 5)
}

fn tells_part(said: &str, secret: &str, length: usize) -> bool {
    let bytes: Vec<char> = secret.chars().collect();
    bytes.windows(length).any(|part| said.contains(&part.iter().collect::<String>()))
}

/// An instance with these lines in its `authentication`.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n    interface eth0\n    virtual_router_id 51\n    authentication {{\n        {lines}\n    }}\n    \
         virtual_ipaddress {{\n        192.0.2.10/24\n    }}\n}}\n"
    )
}

#[test]
fn a_password_that_is_too_long_is_not_told() {
    let said = one(&instance("auth_type PASS\n        auth_pass TopSecret99"));
    assert!(said.contains("only its first 8 bytes count"), "{said}");
    assert!(said.contains("keepalived.conf:6:19"), "{said}");
    assert!(said.contains("auth_pass ********\n"), "the line is shown, without the word: {said}");
    assert!(!tells(&said, "TopSecret99"), "{said}");
}

#[test]
fn a_secret_is_not_told_where_its_line_is_wrong() {
    const SECRET: &str = "TopSecret99";
    let lines = [
        "auth_pas TopSecret99",
        "Auth_Pass TopSecret99",
        "authpass TopSecret99",
        "auth_password TopSecret99",
        "auth_passTopSecret99",
        "auth_pass=TopSecret99",
        "auth_pass\u{a0}TopSecret99",
        "auth_pass \u{201c}TopSecret99\u{201d}",
        "auth_pass \"TopSecret99",
        "auth_pass\"TopSecret99\"",
        "auth_pass 'TopSecret99",
        "auth_pass TopSecret99 TopSecret99",
        "auth_pass TopSecret99 }",
        "auth_pass {TopSecret99}",
        "auth_pass\n        TopSecret99",
        "auth_pass \\\n        TopSecret99",
        "auth_pass a\n        auth_pass TopSecret99 # TopSecret99",
        "auth_type TopSecret99",
        "auth_type PASS TopSecret99",
        "auth_type PASS auth_pass TopSecret99",
        "TopSecret99",
        "password TopSecret99",
        "pass: TopSecret99",
        "auth_pass ${TopSecret99",
        "auth_pass $TopSecret99",
        "auth_pass @TopSecret99@",
        "auth_type $TopSecret99",
        "auth_type @TopSecret99@",
        "}\n    auth_pass TopSecret99",
        "}\n    }\n    auth_pass TopSecret99",
        "@^other auth_pass TopSecret99",
        "~SEQ(i,2) auth_pass TopSecret99$i",
        "~LST(p, TopSecret99, TopSecret99) auth_pass $p",
    ];
    for line in lines {
        let said = one(&instance(line));
        assert!(!tells(&said, SECRET), "{line}: {said}");
    }
}

#[test]
fn a_key_is_not_told() {
    const KEY: &str = "Zu4ahth7aeGhoh3ohNgiec0aishai5ee";
    let block = |line: &str| {
        instance("auth_type PASS")
            .replace("    authentication {\n        auth_type PASS", &format!("    auth_hmac {{\n        {line}"))
    };
    let lines = [
        "key 1 KEYx\n        key 1 KEY\n        active_key 1",
        "key 1 hex:KEY",
        "key KEY",
        "key 300 KEY",
        "kye 1 KEY",
        "key 1 \"KEY",
        "key 1\n        KEY",
        "active_key 1\n        KEY",
        "key 1 KEYKEYKEYKEY",
    ];
    for line in lines {
        let text = block(&line.replace("KEY", KEY));
        let said = one(&text);
        assert!(!tells(&said, KEY), "{line}: {said}");
    }
    let said = one(&format!(
        "SSL {{\n    password {KEY}\n    password {KEY}\n    passwrd {KEY}\n    key /etc/ssl/a.key\n    key /etc/ssl/b.key\n}}\n"
    ));
    assert!(!tells(&said, KEY), "{said}");
    assert!(said.contains("key /etc/ssl/b.key"), "a path is no secret: {said}");
}

#[test]
fn a_secret_is_not_told_where_it_comes_from_elsewhere() {
    const SECRET: &str = "TopSecret99";
    let text = format!("$REAL={SECRET}\n$PASS=$REAL\n{}", instance("auth_type PASS\n        auth_pass $PASS"));
    let said_of = one(&text);
    assert!(said_of.contains("from the definition of $PASS"), "{said_of}");
    assert!(!tells(&said_of, SECRET), "{said_of}");

    let text = format!("$PASS=\\\n  {SECRET}\n$OTHER = {SECRET}\n{}", instance("auth_pass ${PASS} ${OTHER}"));
    assert!(!tells(&one(&text), SECRET));

    let text = format!(
        "$AUTH=authentication {{ \\\n auth_type PASS \\\n auth_pass {SECRET} \\\n }}\nvrrp_instance V {{\n interface eth0\n $AUTH\n}}\n"
    );
    assert!(!tells(&one(&text), SECRET));

    let environment = said(
        MapLoader::default()
            .with("/etc/keepalived.conf", instance("auth_type PASS\n        auth_pass ${_ENV PASSWORD}")),
        &[("PASSWORD", SECRET)],
    );
    assert!(environment.contains("auth_pass"), "{environment}");
    assert!(!tells(&environment, SECRET), "{environment}");

    let files = MapLoader::default()
        .with("/etc/keepalived.conf", instance("auth_type PASS\n        include pass.conf"))
        .with("/etc/pass.conf", format!("auth_pass {SECRET}\n"));
    let included = said(files, &[]);
    assert!(included.contains("pass.conf:1:11"), "{included}");
    assert!(!tells(&included, SECRET), "{included}");
}

/// What stands in front of a definition, or in the middle of a keyword, is no way round, nor is a name that is misspelt at
/// one of its two places.
#[test]
fn two_slips_tell_nothing() {
    const SECRET: &str = "TopSecret99";
    let use_it = |name: &str| instance(&format!("auth_type PASS\n        auth_pass {name}"));
    let texts = [
        format!(" @a $K51={SECRET}\n{}", use_it("$K51").replace("eth0", "eth 0")),
        format!("\\@a $K51={SECRET}\n@}}^a $K51=other\n{}", use_it("$K51")),
        format!("~SEQ(i,2) $VRRP_1={SECRET}\n{}", use_it("$VRRP_1").replace("virtual_ip", "virtual_i(p")),
        format!("$51={SECRET}\n{}", use_it("$K51")),
        format!("VRRP_1={SECRET}\n$TWO=$VRP_1\n{}", use_it("${TWO}")),
        format!("I(A)={SECRET}\n{}", use_it("\"$I\"")),
        format!("$K51={SECRET}\n{}", use_it("$K51").replace("auth_pass ", "auth_p,ass")).replace("$K51=", "$ K51="),
        format!("SSL {{\n    pasword {SECRET}\n}}\n"),
        format!("SSL {{\n    p\nassword {SECRET}\n}}\n"),
        format!("SSL {{\n    pas\\\nsword {SECRET}\n}}\n"),
        format!("SSL {{\n    p assword {SECRET}\n}}\n"),
        format!("vrrp_instance V {{\n    virtual_router_id 51 auth_hmac {{\n        key 1{SECRET}\n    }}\n}}\n"),
        format!("$PASS(n)= \\\n    auth_pass $n\n{}", use_it("x").replace("auth_pass x", &format!("$AUTH({SECRET})"))),
        format!("$AUTH(p)=x\n$AUTH(51,\n    {SECRET})\n"),
        format!("~SEQ(i, 2) $PASS_$i={SECRET}$i\n{}", use_it("{PASS_1}")),
        format!("~SEQ(i, 2 $PASS_$i={SECRET}$i\n{}", use_it("${\n        PASS_1}")),
        format!("$K51 = \\x\n    {SECRET}\n{}", use_it("{$K51}")),
        format!("T$WO={SECRET}\n{}", use_it("${TWO}")),
        use_it("x").replace("PASS", &format!("PASS # the old one was {SECRET}")).replace("authen", "authe!n"),
        use_it(&format!("include x\n        {SECRET}")),
        format!("~LST(p, {SECRET}, {SECRET}) auth_pass p\n"),
        format!("SSL {{\n    pasinclude x\n    swor\"d {SECRET}\n}}\n"),
        format!("SSL {{\n    p~LST(asswrod {SECRET}\n}}\n"),
        format!("vrrp_instance V {{\n    auth_hmac {{\n(       key 1 {SECRET}\n    }}\n}}\n"),
    ];
    for text in texts {
        let said = one(&text);
        assert!(!tells(&said, SECRET), "{text}\n{said}");
    }
}

/// Slips that were found by chance, each in another way: those of several seeds of [`random_slips`].
#[test]
fn slips_that_were_found_tell_nothing() {
    const SECRET: &str = "Zq7rWtPx9";
    let way = |number: usize, from: &str, to: &str| {
        let text = WAYS[number].replace("SECRET", SECRET).replace(from, to);
        assert!(text.contains(to), "{number}: {text}");
        match text.split_once("INSTANCE{").or_else(|| text.split_once("HMAC{")) {
            Some((front, rest)) => {
                let (lines, behind) = rest.rsplit_once('}').unwrap();
                front.to_owned() + &instance(lines) + behind
            }
            None => text,
        }
    };
    let texts = [
        way(15, "auth_pass", "au = th_apss"),
        way(15, "auth_pass", "auth_ @^a pass"),
        way(3, "auth_pass", "aut(h_pass").replace("authentication", "authen!tication"),
        way(3, "auth_pass", "aut\"h_pass")
            .replace("authentication", "authentica = tion")
            .replace("auth_type", "auth_typ@a e"),
        way(7, "auth_pass", "auth_passinclude x\n"),
        way(8, "(p", "(=p").replace("auth_pass ", "auth_pass\n\n"),
        way(16, "$AUTH(Zq", "$AUTH\n\\(Zq"),
        way(20, "password", "pa~SEQ(i,2) sword"),
        way(20, "password", ",passwor"),
        way(21, "$SSL=", "$SSL"),
        way(22, "Px9with", "Px9\\\nZq7rWtPx9with").replace("authentication", "auth_hmac"),
        way(24, "$KEY=", "KEY").replace("authentication", "auth_hmac"),
        way(16, "$AUTH(Zq", "$AUTHZq").replace("auth_pass $p", "au]th_pass $p"),
        way(13, "@a $K51", "a@ $K1").replace("@^a ", ""),
        way(13, "@a $K51", "@a $K5\"1").replace("@^a $K51", "a $K51"),
        format!("@a $K51\"={SECRET}\n@^a $K51=other\n{}", instance("auth_type PASS\n        @^a auth_pass $K51")),
        instance(&format!("auth_type PASS\n    }}\n}}\n#\nFILE atuh_pass {SECRET}\n")),
        instance("auth_type PASS\n        include pass.conf").replace("_id", "\t_id")
            + &format!("auth_painclude x\nss {SECRET}\n"),
    ];
    for text in texts {
        let said = one(&text);
        assert!(!tells(&said, SECRET), "{text}\n{said}");
    }
}

/// A name that is broken over lines, with a backslash or without, is no way round.
#[test]
fn a_definition_whose_name_is_broken_over_lines_tells_nothing() {
    const SECRET: &str = "TopSecret99";
    for name in ["PASS", "K51", "VRRP_1"] {
        for at in 0..=name.len() {
            for between in ["\\\n", " \\\n", "\n", "\\\n  ", "\n\n", "\\\n\\\n"] {
                let (front, rest) = name.split_at(at);
                for value in [SECRET.to_owned(), format!("\\\n {SECRET}"), format!("\"{SECRET}\"")] {
                    let text = format!(
                        "${front}{between}{rest}={value}\n{}",
                        instance(&format!("auth_type PASS\n        auth_pass ${name}"))
                    );
                    let said = one(&text);
                    assert!(!tells(&said, SECRET), "{text}\n{said}");
                }
            }
        }
    }
}

/// Of other programs, or out of somebody's memory.
#[test]
fn the_argument_of_a_keyword_that_nobody_has_is_not_told() {
    const SECRET: &str = "Zq7rWtPx9";
    for keyword in ["vrrp_auth", "auth_password", "authpw", "auth", "vrrp_password", "auth_key"] {
        for text in [
            instance(&format!("auth_type PASS\n        {keyword} {SECRET}")),
            instance(&format!("auth_type PASS\n    }}\n    {keyword} {SECRET}\n    unicast_ttl {{")),
            format!("$S={SECRET}\n{}", instance(&format!("auth_type PASS\n        {keyword} ${{S}}"))),
        ] {
            let said = one(&text);
            assert!(!tells(&said, SECRET), "{text}\n{said}");
            assert!(said.contains("unknown keyword `"), "{text}\n{said}");
        }
    }
}

#[test]
fn what_is_no_secret_is_shown() {
    let said = one(&instance("auth_type PASS\n        auth_pass short\n    }\n    prioriti 100\n    unicast_ttl {"));
    assert!(said.contains("prioriti 100"), "{said}");
    let said = one("vrrp_instance V {\n    authentication {\n        auth_type PASS\n    priority 100\n}\n");
    assert!(said.contains("`priority` does not belong here"), "{said}");
    let said = one("bfd_instance b {\n    passive 77\n    neighbor_ip 192.0.2.300\n}\n");
    assert!(said.contains("passive 77"), "{said}");
}

/// Only what stands in the file is hidden: no word of a sentence, no keyword, no name of a definition, though a comment or a secret
/// holds the same word.
#[test]
fn the_words_of_a_sentence_are_no_secrets() {
    let long = "auth_type PASS\n        auth_pass Zq7rWtPx9Kk";
    for comment in ["the first 8 bytes", "same on all servers", "only its first bytes count", "old: `auth_pass` word"] {
        let text = instance(&format!("{long} # {comment}"));
        let said = one(&text);
        assert!(said.contains("`auth_pass`: the word is too long; only its first 8 bytes count"), "{comment}: {said}");
        assert!(said.contains("write a word of at most 8 bytes, the same one on all servers"), "{comment}: {said}");
        assert!(!tells(&said, "Zq7rWtPx9Kk") && !said.contains(comment), "{comment}: {said}");
    }
    let said = one(&instance("auth_type PASS\n        auth_pass \"bytes only same\""));
    assert!(said.contains("only its first 8 bytes count") && said.contains("the same one on all"), "{said}");
    assert!(!said.contains("bytes only same"), "{said}");

    // A name that nobody has given a value is what its author must be told.
    let said = one(&instance("auth_type PASS\n        auth_pass ${AUTH_WORD}"));
    assert!(said.contains("`${AUTH_WORD}` is not replaced") && said.contains("`$AUTH_WORD=VALUE`"), "{said}");
    let lines = "auth_type PASS\n        auth_pass $interface\n    }\n    track_interface {\n        $interface\n    ";
    let said = one(&instance(lines).replace("192.0.2.10/24", "$vip/24 dev $interface"));
    assert!(said.contains("`$vip/24` is no address"), "{said}");
}

/// A new keyword that takes a secret must be known to the report.
#[test]
fn every_keyword_of_a_secret_is_known() {
    for keyword in keywords::all() {
        let words = ["password", "passphrase", "secret", "credential"];
        let doc = keyword.doc.to_lowercase();
        let about = words.iter().any(|word| doc.contains(word) || keyword.keyword.contains(word));
        let secret = SECRET_KEYWORDS.contains(&keyword.keyword) || keyword.keyword == "auth_type";
        assert!(!about || secret || doc.contains("authentication"), "{}/{}", keyword.block, keyword.keyword);
    }
}

/// A generator of numbers that is the same on every run.
struct Numbers(u64);
impl Numbers {
    /// Of all sorts of signs, or of small letters alone, as a word of a sentence is.
    fn secret(&mut self) -> String {
        let signs = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789%+-_.:";
        let most = if self.below(2) == 0 { signs.len() } else { 25 };
        (0..12).map(|_| char::from(signs[self.below(most)])).collect()
    }
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }
}

#[test]
fn random_slips_around_random_secrets_tell_nothing() {
    let mut numbers = Numbers(std::env::var("VIPD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7));
    let mut running = 0;
    for case in 0..4000 {
        let secret = numbers.secret();
        let text = match numbers.below(8) {
            4 => {
                format!("@a $K51={secret}\n@^a $K51=other\n{}", instance("auth_type PASS\n        @^a auth_pass $K51"))
            }
            5 => format!("$VRRP_1={secret}\n$TWO=$VRRP_1\n{}", instance("auth_type PASS\n        auth_pass ${TWO}")),
            6 => format!("$I(A)={secret}\n{}", instance("auth_type PASS\n        auth_pass \"$I\"")),
            7 => format!("SSL {{\n    password {secret}\n    ca /etc/ssl/ca.pem\n}}\n"),
            0 => instance(&format!("auth_type PASS\n        auth_pass {secret}")),
            1 => instance(&format!("auth_type AH\n        auth_pass \"{secret}\"\n        auth_pass {secret}")),
            2 => format!("$PASS={secret}\n{}", instance("auth_type PASS\n        auth_pass $PASS")),
            _ => instance("auth_type PASS").replace(
                "    authentication {\n        auth_type PASS",
                &format!("    auth_hmac {{\n        key 1 {secret}{secret}{secret}\n        active_key 1"),
            ),
        };
        let mut text: Vec<char> = text.chars().collect();
        for _ in 0..1 + numbers.below(2) {
            let at = numbers.below(text.len());
            let whole: String = text.iter().collect();
            let inside = whole.match_indices(&secret).any(|(start, found)| {
                let start = whole[..start].chars().count();
                (start + 1..start + found.chars().count()).contains(&at)
            });
            if inside {
                continue;
            }
            match numbers.below(3) {
                0 if !whole.chars().skip(at).collect::<String>().starts_with(&secret) => drop(text.remove(at)),
                _ => {
                    let sign = SLIPS[numbers.below(SLIPS.len())];
                    text.splice(at..at, sign.chars());
                }
            }
        }
        let text: String = text.into_iter().collect();
        let said = one(&text);
        assert!(!tells(&said, &secret), "case {case}, {secret}:\n{text}\n{said}");
        if let Some(shown) = shown(&text) {
            running += 1;
            // Five letters stand in a page of labels by chance: `Multicast` has those of a word with `ticas`.
            assert!(!tells_part(&shown, &secret, 7), "case {case}, {secret}:\n{text}\n{shown}");
        }
    }
    assert!(running > 1000, "only {running} could be used");
}

/// Configurations as people write them, each with one secret (`SECRET`) that comes to its place by another way.
const WAYS: &[&str] = &[
    "INSTANCE{auth_type PASS\n        auth_pass SECRET}",
    "INSTANCE{\tauth_type\tPASS\n\tauth_pass\tSECRET}",
    "INSTANCE{auth_type PASS\r\n        auth_pass \"SECRET\"\r}",
    "INSTANCE{auth_type PASS auth_pass SECRET}",
    "INSTANCE{auth_type PASS # the old one was SECRET\n        auth_pass short}",
    "INSTANCE{auth_type PASS\n        # auth_pass SECRET\n        auth_pass short}",
    "INSTANCE{auth_type PASS\n        @a auth_pass SECRET\n        @^a auth_pass short}",
    "INSTANCE{@a auth_type PASS auth_pass SECRET}",
    "INSTANCE{auth_type PASS\n        ~LST(p, SECRET, SECRET) auth_pass $p}",
    "~SEQ(i, 2) $PASS_$i=SECRET$i\nINSTANCE{auth_type PASS\n        auth_pass ${PASS_1}}",
    "$PASS=SECRET\nINSTANCE{auth_type PASS\n        auth_pass $PASS}",
    "$K51=SECRET\nINSTANCE{auth_type PASS\n        auth_pass $K51}",
    "$K51 = \\\n    SECRET\nINSTANCE{auth_type PASS\n        auth_pass ${K51}}",
    "@a $K51=SECRET\n@^a $K51=short\nINSTANCE{auth_type PASS\n        auth_pass $K51}",
    "$ONE=SECRET\n$TWO=$ONE\n$THREE=${TWO}\nINSTANCE{auth_type PASS\n        auth_pass ${THREE}}",
    "$AUTH= \\\n    auth_type PASS \\\n    auth_pass SECRET\nINSTANCE{$AUTH}",
    "$AUTH(p)= \\\n    auth_type PASS \\\n    auth_pass $p\nINSTANCE{$AUTH(SECRET)}",
    "$I(n, p)= \\\n    vrrp_instance V$n { \\\n        interface eth0 \\\n        virtual_router_id $n \\\n        authentication { \\\n            \
     auth_type PASS \\\n            auth_pass $p \\\n        } \\\n        virtual_ipaddress { \\\n            192.0.2.$n/24 \\\n        } \\\n    }\n\
     $I(51, SECRET)\n",
    "INSTANCE{auth_type PASS\n        include pass.conf}\n#FILE auth_pass SECRET\n",
    "include pass.conf\nINSTANCE{auth_type PASS\n        auth_pass $K51}\n#FILE $K51=SECRET\n",
    "SSL {\n    password SECRET\n    ca /etc/ssl/ca.pem\n    certificate /etc/ssl/a.pem\n}\n",
    "$SSL=SECRET\nSSL {\n    password $SSL\n    key /etc/ssl/a.key\n}\n",
    "HMAC{key 1 SECRETwithMoreOfItBehind\n        active_key 1}",
    "HMAC{key 1 SECRETwithMoreOfItBehind\n        key 2 \"SECRETwithMoreOfItBehind\"\n        active_key 2\n        time_window 5}",
    "$KEY=SECRETwithMoreOfItBehind\nHMAC{key 1 $KEY\n        active_key 1}",
];

/// What people do to a line without wanting to.
const SLIPS: &[&str] = &[
    "\"",
    "'",
    "{",
    "}",
    "#",
    "!",
    "$",
    "@",
    "~",
    "\\",
    " ",
    "\n",
    "=",
    ",",
    "x",
    "\u{a0}",
    "${",
    "~SEQ(i,2) ",
    "\t",
    "\r",
    "\r\n",
    "\u{201c}",
    "\u{201d}",
    "~LST(",
    "@a ",
    " @^a ",
    "(",
    ")",
    "$I(",
    "[",
    "]",
    ";",
    ":",
    "\n\n",
    " = ",
    "\\\n",
    "`",
    "include x\n",
    "\u{200b}",
    "<",
    "%",
    "&",
    "/",
    "-",
    "_",
    ".",
];

fn random_slips(seed: u64, cases: usize, most: usize) -> Vec<String> {
    let mut numbers = Numbers(seed);
    let mut leaks = Vec::new();
    for _ in 0..cases {
        let secret = numbers.secret();
        let number = numbers.below(WAYS.len());
        let way = WAYS[number];
        let text = match (way.split_once("INSTANCE{"), way.split_once("HMAC{")) {
            (Some((front, rest)), _) => {
                let (lines, behind) = rest.rsplit_once('}').unwrap();
                format!("{front}{}{behind}", instance(lines))
            }
            (None, Some((front, rest))) => {
                let (lines, behind) = rest.rsplit_once('}').unwrap();
                front.to_owned() + &instance(lines).replace("authentication {", "auth_hmac {") + behind
            }
            (None, None) => way.to_owned(),
        };
        let mut text: Vec<char> = text.replace("SECRET", &secret).chars().collect();
        for _ in 0..1 + numbers.below(most) {
            let at = numbers.below(text.len());
            let whole: String = text.iter().collect();
            let inside = whole.match_indices(&secret).any(|(start, found)| {
                let start = whole[..start].chars().count();
                (start..start + found.chars().count()).contains(&at)
            });
            match numbers.below(4) {
                // Within the secret nothing is touched: its parts would be other words.
                0 if !inside => drop(text.remove(at)),
                1 if !inside
                    && at + 1 < text.len()
                    && !whole.chars().skip(at + 1).collect::<String>().starts_with(&secret) =>
                {
                    text.swap(at, at + 1);
                }
                _ if inside && !whole.chars().skip(at).collect::<String>().starts_with(&secret) => {}
                _ => drop(text.splice(at..at, SLIPS[numbers.below(SLIPS.len())].chars())),
            }
        }
        let text: String = text.into_iter().collect();
        let (main, part) = text.split_once("#FILE ").unwrap_or((&text, ""));
        let files = MapLoader::default().with("/etc/keepalived.conf", main).with("/etc/pass.conf", part);
        let said = said(files, &[]);
        let telling = |all: &str, length| {
            all.lines().filter(|line| tells_part(line, &secret, length)).collect::<Vec<_>>().join("\n")
        };
        if tells(&said, &secret) {
            leaks.push(format!("way {number}, {secret}:\n{text}\n{}", telling(&said, 5)));
        } else if let Some(shown) = shown(&text).filter(|shown| tells_part(shown, &secret, 7)) {
            leaks.push(format!("way {number}, {secret}, in what is shown:\n{text}\n{}", telling(&shown, 7)));
        }
    }
    leaks
}

/// Every way a secret comes to its place, with up to three slips anywhere around it.
#[test]
fn slips_on_every_way_of_a_secret_tell_nothing() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let cases = number("VIPD_SLIPS", 2000) as usize;
    let leaks = random_slips(number("VIPD_SEED", 11), cases, 3);
    assert!(
        leaks.is_empty(),
        "{} of {cases} told it:\n{}",
        leaks.len(),
        leaks[..leaks.len().min(400)].join("\n-----\n")
    );
}

/// What dumps, JSON, statistics and the sentence of a reload show of a configuration that can be used.
fn shown(text: &str) -> Option<String> {
    let system = machine();
    let files = MapLoader::default().with("/etc/keepalived.conf", text);
    let (spec, _) = load("/etc/keepalived.conf", &Env { text: TextEnv::default(), system: &system }, &files);
    let spec = std::sync::Arc::new(spec?);
    let now = Time::from_micros(100_000_000);
    let mut engine = Engine::new(spec.clone(), Vec::new(), now);
    while engine.poll().is_some() {}
    let snapshot = engine.snapshot(now);
    let seen = snmp::Seen { spec: &spec, now: &snapshot, servers: None, version: "", uptime: (now, 0) };
    let mut all = vec![
        dump::data(&spec, &snapshot),
        dump::parent(&spec),
        dump::stats(&snapshot),
        json::dump(&spec, &snapshot),
        serde_json::to_string(&snapshot).unwrap(),
        // What a panic would print.
        format!("{spec:?} {snapshot:?}"),
        changes::between(&Spec::default(), &spec).join("\n"),
        changes::between(&spec, &Spec::default()).join("\n"),
    ];
    let tree = snmp::tree(&seen);
    let (mut at, end) = (vec![1_u32], vec![2_u32]);
    while let Some((oid, value)) = tree.next(&at, false, &end) {
        all.push(match value {
            snmp::Value::Octets(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        });
        at = oid.to_vec();
    }
    Some(all.join("\n"))
}

/// Whatever is wrong beside it: what belongs in a block whose brace is missing, lines that end with a carriage return alone, words
/// that other programs have for such things, and what a program is given on its command line.
#[test]
fn a_secret_is_not_told_in_another_place_or_form() {
    let secret = "Zq7rWtPx9";
    let own = |line: &str| {
        instance("auth_type PASS").replace("    virtual_ipaddress", &format!("    {line}\n    virtual_ipaddress"))
    };
    let carriage = instance(&format!("auth_type PASS\n        auth_pas {secret}")).replace('\n', "\r");
    let texts = [
        own(&format!("auth_hmac 1 {secret}")),
        own(&format!("auth_hmac {secret}")),
        own(&format!("notify_master \"/etc/told --token={secret}\" wrong wrong")),
        own(&format!("notify_master \"/etc/told http://user:{secret}@host/\" wrong wrong")),
        format!("global_defs {{\n    snmp_community {secret}\n}}\n"),
        format!("vrrp_script chk {{\n    script \"/usr/bin/mysql -u root -p{secret} -e x\n}}\n"),
        format!("vrrp_script chk {{\n    script \"/usr/bin/redis-cli -a {secret} ping\n}}\n"),
        carriage,
    ];
    let commands = [
        "/usr/bin/curl --user me:SECRET http://host/",
        "/usr/bin/curl --user=me:SECRET http://host/",
        "/usr/bin/curl -H Authorization: Bearer SECRET http://host/",
        "/usr/bin/told --url http://host/?api_key=SECRET",
        "/usr/bin/aws --secret-access-key SECRET",
        "/usr/bin/ldapsearch -w SECRET",
        "/usr/bin/sshpass -p SECRET ssh host",
        "/usr/bin/openssl rsa -pass SECRET",
    ];
    let of = |command: &str| format!("vrrp_script chk {{\n    script \"{}\n}}\n", command.replace("SECRET", secret));
    for text in texts.into_iter().chain(commands.map(of)) {
        let said = one(&text);
        assert!(!said.is_empty() && !tells(&said, secret), "{text}\n{said}");
    }
}
