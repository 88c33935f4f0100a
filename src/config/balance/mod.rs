//! The load balancing language: `SSL`, `virtual_server_group`, `virtual_server` with its servers and checkers.
//!
//! A quarter of all real configurations hold it. It is read and checked in full; the part `balance` acts on it. Blocks are
//! read into [`Lvs`] as they come, [`resolve::resolve`] makes an [`LvsSpec`](crate::spec::balance::LvsSpec) of them. This part knows nothing of
//! VRRP: they share the file, `track_file`s and BFD sessions, and the rules about scripts.

pub mod checkers;
pub mod group;
pub mod http;
pub mod resolve;
pub mod server;
pub mod shared;

use crate::config::table::block::{Cx, Set, last, read_block};
use crate::config::table::values::{PATH, STR};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;
use crate::spec::IfName;
use crate::spec::balance::{self as spec, Method, ServerGroup, TlsFiles};
use crate::wire::Family;
use server::Service;
use std::net::IpAddr;

/// Everything of the language that has been read.
#[derive(Clone, Debug, Default)]
pub struct Lvs {
    pub tls: Option<Ssl>,
    pub groups: Vec<ServerGroup>,
    pub services: Vec<Service>,
}

impl Lvs {
    /// Is there anything at all?
    pub fn is_empty(&self) -> bool {
        self.tls.is_none() && self.groups.is_empty() && self.services.is_empty()
    }
}

block! {
    /// TLS files of SSL_GET checkers.
    "SSL" => Ssl {
        /// Passphrase of the key.
        "password" => password: Set<Box<str>> = last(STR).replaced();
        /// Certificates of authorities. Without effect, as in keepalived: no server's certificate is verified.
        "ca" => authorities: Set<Box<str>> = last(PATH).replaced(), default "the system's";
        /// Client certificate.
        "certificate" => certificate: Set<Box<str>> = last(PATH).replaced();
        /// Key of the client certificate.
        "key" => key: Set<Box<str>> = last(PATH).replaced();
    }
    rest {
        /// The line that opens the block.
        at: Option<Span>;
    }
}

impl From<Ssl> for TlsFiles {
    fn from(own: Ssl) -> TlsFiles {
        let value = |set: Set<Box<str>>| set.value();
        TlsFiles {
            password: value(own.password),
            authorities: value(own.authorities),
            certificate: value(own.certificate),
            key: value(own.key),
        }
    }
}

/// Reads an `SSL` block. A second one replaces the first.
pub fn ssl(lvs: &mut Lvs, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some(first) = lvs.tls.as_ref().and_then(|tls| tls.at) {
        cx.again(node.span, "SSL", first, "this one holds");
    }
    let mut own = Ssl { at: Some(node.span), ..Ssl::default() };
    read_block(&mut own, node.body.as_deref().unwrap_or_default(), cx);
    lvs.tls = Some(own);
}

/// Reads a `virtual_server_group` block.
pub fn virtual_server_group(lvs: &mut Lvs, node: &Node<'_>, cx: &mut Cx<'_>) {
    group::group(&mut lvs.groups, node, cx);
}

/// Reads a `virtual_server` block.
pub fn virtual_server(lvs: &mut Lvs, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(target) = server::target(node, cx) else { return };
    let family = match &target {
        spec::Target::Address(endpoint) => Some(Family::of(&endpoint.address)),
        _ => None,
    };
    let grouped = matches!(target, spec::Target::Group(_));
    let name = target.to_string();
    let mut service =
        Service { target: Some(target), family, at: Some(node.span), close: node.close, ..Service::default() };
    let body = node.body.as_deref().unwrap_or_default();
    // As many as there are at most: what a vector grows by would be most of a large configuration's memory.
    service.servers.reserve_exact(body.iter().filter(|line| line.keyword.text == "real_server").count());
    read_block(&mut service, body, cx);
    if cx.aborted {
        return;
    }
    if service.servers.is_empty() {
        let message = format!("virtual_server {name} has no real_server and is left out");
        return cx.lacks(&["real_server"], node.span, node.close, message, "add a `real_server ADDRESS PORT {` block");
    }
    settle_family(&mut service, node.close, grouped, cx);
    lvs.services.push(service);
}

/// The sorry server must have the service's family unless it is behind a tunnel; a service by mark that nothing else tells
/// takes the family of its tunnelled servers, if they agree, else IPv4.
fn settle_family(service: &mut Service, close: Option<Span>, grouped: bool, cx: &mut Cx<'_>) {
    let tunnelled = |own: Option<spec::Forwarding>, of: Option<spec::Forwarding>| {
        own.or(of).is_some_and(|forwarding| forwarding.method == Method::Tunnel)
    };
    let of = |address: &IpAddr| Family::of(address);
    if let Some(sorry) = &service.sorry
        && !tunnelled(sorry.forwarding, service.forwarding)
    {
        let family = of(&sorry.endpoint.address);
        let expected = *service.family.get_or_insert(family);
        if expected != family {
            let message = format!("sorry_server {} is left out: the service is {expected}", sorry.endpoint);
            cx.block_error(
                sorry.at,
                close,
                message,
                "name a sorry_server of the same family, or write `sorry_server_lvs_method TUN`",
            );
            service.sorry = None;
        }
    }
    if service.family.is_none() && !grouped {
        let sorry = service.sorry.iter().map(|sorry| of(&sorry.endpoint.address));
        let mut families = sorry.chain(service.servers.iter().filter_map(|s| s.endpoint).map(|e| of(&e.address)));
        let first = families.next().unwrap_or(Family::V4);
        service.family = Some(if families.all(|family| family == first) { first } else { Family::V4 });
    }
}

/// Interfaces that checkers bind to: for warnings about names that are not there.
pub fn interfaces(spec: &spec::LvsSpec) -> impl Iterator<Item = &IfName> {
    let servers = spec.services.iter().flat_map(|service| &service.servers);
    servers.flat_map(|server| &server.checkers).filter_map(|checker| checker.connection.as_ref()?.interface.as_ref())
}
