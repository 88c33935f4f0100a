//! The files of a configuration for another machine's eyes: without a password or a key, and still to be compared.
//!
//! In the text each secret word is replaced by asterisks. Beside the text stands, for every instance in order, what its
//! passwords and keys come to under HMAC-SHA256 with a salt that the asker has made for this one question: equal ones are
//! equal, others differ, and nothing is learnt from the answer to another question. The asker puts these in the places of
//! the passwords before it compares.

use super::Trouble;
use super::files;
use crate::config::report::Secrets;
use crate::config::text::expand::{BUILTINS, definition, used};
use crate::config::text::source::{Found, Loader, Source};
use crate::kernel::files::OsLoader;
use crate::spec::{Auth, MASK, Spec};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Bytes of a salt.
const SALT: usize = 16;

/// Made for one question by whoever asks; the same for all servers that are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Salt([u8; SALT]);

impl Salt {
    /// # Errors
    /// The kernel gives no random bytes.
    pub(super) fn fresh() -> Result<Salt, Trouble> {
        let mut bytes = [0; SALT];
        // So few come all at once (getrandom(2)).
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map(|_| Salt(bytes))
            .map_err(|e| Trouble::new(format!("No random bytes for the question: {e}")))
    }

    /// As it stands on a command line: two digits a byte.
    pub(super) fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn digest(self, secret: &[u8]) -> [u8; 32] {
        // HMAC takes keys of any length.
        Hmac::<Sha256>::new_from_slice(&self.0)
            .map(|mac| mac.chain_update(secret).finalize().into_bytes().into())
            .unwrap_or_default()
    }
}

/// # Errors
/// It is no [`Salt::text`].
pub fn salt(text: &str) -> Result<Salt, String> {
    u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 2 * SALT && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(|number| Salt(number.to_be_bytes()))
        .ok_or_else(|| format!("{} hexadecimal digits are needed", 2 * SALT))
}

/// What the passwords of one instance come to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sealed {
    /// No password: nothing to compare.
    Open,
    /// Of `auth_pass`.
    Pass([u8; 8]),
    /// Of each key of `auth_hmac`, with its number.
    Keys(Vec<(u8, [u8; 32])>),
}

impl Sealed {
    fn of(auth: &Auth, salt: Salt) -> Sealed {
        match auth {
            Auth::None => Sealed::Open,
            Auth::Pass(word) | Auth::Ah(word) => {
                let digest = salt.digest(word);
                Sealed::Pass(std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default()))
            }
            Auth::Hmac(hmac) => Sealed::Keys(hmac.keys.iter().map(|(id, key)| (*id, salt.digest(key))).collect()),
        }
    }

    /// Puts it in the place of the secret; false if it belongs to another kind.
    fn put(&self, auth: &mut Auth) -> bool {
        match (self, auth) {
            (Sealed::Open, Auth::None) => true,
            (Sealed::Pass(digest), Auth::Pass(word) | Auth::Ah(word)) => {
                *word = *digest;
                true
            }
            (Sealed::Keys(digests), Auth::Hmac(hmac)) => {
                hmac.keys = digests.iter().map(|(id, digest)| (*id, digest.as_slice().into())).collect();
                true
            }
            _ => false,
        }
    }
}

/// The files that a configuration consists of, as they were read on their machine, with asterisks for secrets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Files {
    main: PathBuf,
    /// `None`: it could not be read there.
    read: BTreeMap<PathBuf, Option<String>>,
    matched: BTreeMap<String, Vec<PathBuf>>,
    /// By instance, in order; `None`: the configuration has mistakes.
    sealed: Option<Vec<Sealed>>,
}

/// Reads from disk and keeps what was read.
#[derive(Default)]
struct Recorder(RefCell<Files>);

impl Loader for Recorder {
    fn read(&self, path: &Path) -> Found {
        let found = OsLoader.read(path);
        let text = match &found {
            Found::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        self.0.borrow_mut().read.insert(path.to_path_buf(), text);
        found
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let paths = OsLoader.glob(pattern);
        self.0.borrow_mut().matched.insert(pattern.to_owned(), paths.clone());
        paths
    }
}

impl Loader for Files {
    fn read(&self, path: &Path) -> Found {
        match self.read.get(path) {
            Some(Some(text)) => Found::Text(text.clone().into_bytes()),
            Some(None) => Found::Unreadable("it could not be read on its machine".into()),
            None => Found::Missing,
        }
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        self.matched.get(pattern).cloned().unwrap_or_default()
    }
}

impl Files {
    /// The configuration that a daemon of this machine runs with.
    pub(super) fn seal(main: &Path, config_id: &str, salt: Salt) -> Files {
        let recorder = Recorder::default();
        let (spec, _) = files::load_elsewhere(main, config_id, &recorder);
        let mut files = Files { main: main.to_path_buf(), ..recorder.0.into_inner() };
        files.sealed = spec.map(|spec| spec.instances.iter().map(|one| Sealed::of(&one.auth, salt)).collect());
        let texts: Vec<(&PathBuf, &mut String)> =
            files.read.iter_mut().filter_map(|(path, text)| Some((path, text.as_mut()?))).collect();
        let source = |(path, text): &(&PathBuf, &mut String)| Source {
            name: path.to_string_lossy().into(),
            text: std::sync::Arc::new((*text).clone()),
            included_at: None,
        };
        let sources: Vec<Source> = texts.iter().map(source).collect();
        let secrets = Secrets::find(&sources, "");
        let names: BTreeSet<&str> = sources
            .iter()
            .flat_map(|source| source.text.lines())
            .filter_map(|line| definition(line.trim_start()).map(|(name, _)| name))
            .chain(BUILTINS.iter().map(|(name, _)| *name))
            .collect();
        for ((_, text), (place, source)) in texts.into_iter().zip((0..).zip(&sources)) {
            *text = secrets.replaced(place, &source.text, |secret| starred(secret, &names));
        }
        files
    }

    /// What it means, with what its passwords come to in their places. `None`: it has mistakes, or says something else
    /// without its secrets.
    pub(super) fn open(&self, config_id: &str) -> Option<Spec> {
        let mut spec = files::load_elsewhere(&self.main, config_id, self).0?;
        let sealed = self.sealed.as_ref().filter(|sealed| sealed.len() == spec.instances.len())?;
        let put = |(one, sealed): (&mut crate::spec::InstanceSpec, &Sealed)| sealed.put(&mut one.auth);
        spec.instances.iter_mut().zip(sealed).all(put).then_some(spec)
    }
}

/// The secret part of a line with asterisks for its words. What is no word stays: quotes, braces, a backslash at the end, and
/// uses of the definitions `names`, whose values are secret in their own lines. A comment goes. A word with a `$` that uses no
/// definition is a password like any other.
fn starred(secret: &str, names: &BTreeSet<&str>) -> String {
    let secret = secret.split(['#', '!']).next().unwrap_or_default();
    let mut out = String::with_capacity(secret.len());
    let mut word = String::new();
    let end = |word: &mut String, out: &mut String| {
        match std::mem::take(word) {
            word if word.is_empty() => {}
            // As long as a key must be, where a word is longer than a password.
            word if word.len() > MASK.len() => *out += &MASK.repeat(4),
            _ => *out += MASK,
        }
    };
    let mut rest = secret;
    while let Some(c) = rest.chars().next() {
        if let Some((_, length)) = used(rest).filter(|(name, _)| names.contains(name)) {
            end(&mut word, &mut out);
            let (name, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
            out += name;
            rest = behind;
            continue;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        if c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '}') || (c == '\\' && rest.trim().is_empty()) {
            end(&mut word, &mut out);
            out.push(c);
        } else {
            word.push(c);
        }
    }
    end(&mut word, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_asterisks_and_names_stay() {
        let names = BTreeSet::from(["PASS"]);
        let starred = |secret| starred(secret, &names);
        assert_eq!(starred("topaz"), MASK);
        assert_eq!(starred("\"to paz\" } # once onyx"), format!("\"{MASK} {MASK}\" }} "));
        assert_eq!(starred("$PASS"), "$PASS");
        assert_eq!(starred("ab${PASS}cd"), format!("{MASK}${{PASS}}{MASK}"));
        assert_eq!(starred("$"), MASK);
        assert_eq!(
            starred("$ecret ${ecret}"),
            format!("{MASK} {MASK}{{{MASK}}}"),
            "no definitions: they are passwords"
        );
        assert_eq!(starred("$PASSed"), MASK, "another name");
        assert_eq!(starred("hex:00112233 \\"), format!("{} \\", MASK.repeat(4)));
    }

    #[test]
    fn a_salt_is_read_as_it_is_written() {
        let made = Salt::fresh().unwrap();
        assert_eq!(salt(&made.text()), Ok(made));
        assert!(
            salt("12").is_err() && salt(&"x".repeat(32)).is_err() && salt(&format!("+{}", "1".repeat(31))).is_err()
        );
        assert_ne!(made.digest(b"topaz"), Salt::fresh().unwrap().digest(b"topaz"));
    }
}
