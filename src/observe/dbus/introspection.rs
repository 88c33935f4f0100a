//! How objects describe themselves (org.freedesktop.DBus.Introspectable): the document type of the D-Bus specification.

use super::Objects;
use std::collections::BTreeSet;

const HEAD: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
"#;

/// The interfaces that every object has.
const STANDARD: &str = r#"  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg type="s" name="interface_name" direction="in"/>
      <arg type="s" name="property_name" direction="in"/>
      <arg type="v" name="value" direction="out"/>
    </method>
    <method name="GetAll">
      <arg type="s" name="interface_name" direction="in"/>
      <arg type="a{sv}" name="properties" direction="out"/>
    </method>
    <method name="Set">
      <arg type="s" name="interface_name" direction="in"/>
      <arg type="s" name="property_name" direction="in"/>
      <arg type="v" name="value" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg type="s" name="interface_name"/>
      <arg type="a{sv}" name="changed_properties"/>
      <arg type="as" name="invalidated_properties"/>
    </signal>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg type="s" name="xml_data" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg type="s" name="machine_uuid" direction="out"/>
    </method>
  </interface>
"#;

const GENERAL: &str = r#"  <interface name="org.keepalived.Vrrp1.Vrrp">
    <method name="PrintData"/>
    <method name="PrintStats"/>
    <method name="PrintStatsClear"/>
    <method name="ReloadConfig"/>
    <signal name="VrrpStarted"/>
    <signal name="VrrpReloaded"/>
    <signal name="VrrpStopped"/>
  </interface>
"#;

const INSTANCE: &str = r#"  <interface name="org.keepalived.Vrrp1.Instance">
    <method name="SendGarp"/>
    <signal name="VrrpStatusChange">
      <arg type="u" name="status"/>
    </signal>
    <property type="s" name="Name" access="read"/>
    <property type="(us)" name="State" access="read"/>
  </interface>
"#;

/// The description of what is at `path`: its interfaces, and the names of what stands directly below it. A path that
/// leads nowhere has neither.
pub(super) fn of(objects: &Objects, path: &str) -> String {
    let mut text = HEAD.to_owned();
    if path == &*objects.general {
        text += STANDARD;
        text += GENERAL;
    } else if objects.instances.contains_key(path) {
        text += STANDARD;
        text += INSTANCE;
    }
    let front = if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
    let below = objects.paths().filter_map(|other| other.strip_prefix(&front)?.split('/').next());
    for name in below.collect::<BTreeSet<_>>() {
        text += &format!("  <node name=\"{name}\"/>\n");
    }
    text + "</node>\n"
}
