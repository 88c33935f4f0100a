//! `auth_hmac`: its modes and keys, given in the file or beside it.

use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::{Cx, Reader, must, read_block};
use crate::config::table::values::{Value, uint};
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word};
use crate::config::vrrp::instance::Hmac;

/// A key of `auth_hmac`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyLine {
    pub id: u8,
    pub bytes: Box<[u8]>,
    pub span: Span,
}

pub(crate) fn auth_hmac(field: &mut Option<Box<Hmac>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let hmac = field.get_or_insert_default();
    hmac.opened.get_or_insert(node.span);
    read_block(&mut **hmac, node.body.as_deref().unwrap_or_default(), cx);
}

/// Shortest and longest key, bytes.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 32..=64;

pub(crate) fn hmac_key(hmac: &mut Hmac, node: &Node<'_>, cx: &mut Cx<'_>) {
    let before = hmac.keys.len();
    key(&mut hmac.keys, node, cx);
    hmac.refused |= hmac.keys.len() == before;
}

pub(crate) fn active_key(hmac: &mut Hmac, node: &Node<'_>, cx: &mut Cx<'_>) {
    let before = std::mem::take(&mut hmac.active);
    must(uint(1, 255).exact()).read(&mut hmac.active, node, cx);
    if hmac.active.is_none() {
        hmac.refused = true;
        hmac.active = before;
    }
}

fn key(field: &mut Vec<KeyLine>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let [id, value, ..] = node.args.as_slice() else { return cx.missing(node, "a number and a key") };
    let Some(id) = uint(1, 255).exact().take(*id, "key", cx) else { return };
    let decoded = match value.text.strip_prefix("file:") {
        Some(path) => key_file(path, *value, cx),
        None => decode_key(value.text),
    };
    let Some(bytes) = decoded.filter(|b| KEY_LENGTHS.contains(&b.len())) else {
        let message = format!("key {id} of auth_hmac is ignored: it must be 32 to 64 bytes long");
        return cx.push(
            Diagnostic::new(Class::General, value.span, message)
                .label("expected 32 to 64 characters, hex: with twice as many digits, or file:PATH")
                .help("`openssl rand -hex 32` makes one for hex:"),
        );
    };
    if let Some(first) = field.iter().find(|key| u32::from(key.id) == id).map(|key| key.span) {
        let message = format!("key {id} of auth_hmac is given twice; the first one holds");
        let complaint = Diagnostic::new(Class::General, node.span, message).related(first, "first given here");
        return cx.push(complaint.help("remove one of the two lines, or give this key another number"));
    }
    field.push(KeyLine { id: id as u8, bytes: bytes.into(), span: node.span });
}

fn key_file(path: &str, word: Word<'_>, cx: &mut Cx<'_>) -> Option<Vec<u8>> {
    let Some(mut bytes) = cx.env.system.read_secret(path) else {
        cx.note(word.span, format!("the key file `{path}` cannot be read"));
        return None;
    };
    if crate::config::security::stat(cx.env.system, path).is_some_and(|stat| stat.mode & 0o077 != 0) {
        cx.push(
            Diagnostic::new(Class::Security, word.span, format!("the key file `{path}` can be read by others"))
                .help(format!("chmod 600 {path}")),
        );
    }
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    decode_key(std::str::from_utf8(&bytes).ok()?)
}

/// `hex:` and pairs of digits, or the characters themselves.
fn decode_key(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("hex:") else { return Some(text.as_bytes().to_vec()) };
    if hex.len() % 2 != 0 || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
