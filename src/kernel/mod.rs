//! The only code that touches Linux: sockets, netlink, processes, privileges.
