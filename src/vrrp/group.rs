//! Sync groups as a table: the standing of its members decides what a group does.
//!
//! | a member is faulty | a member is content to be BACKUP | then every member |
//! |---|---|---|
//! | yes | – | is in FAULT; masters among them say priority 0 |
//! | no | yes | is BACKUP; masters among them yield without a word |
//! | no | no: each is MASTER or wants to be | is MASTER |
//!
//! A member is faulty when it is held in FAULT by anything of its own, an unreported script included. It is content when
//! it is BACKUP and its down timer has not ended since it last accepted an advert, or when it has not started yet. There
//! is no fourth row, no order of arrival and no memory: the table is applied after every input, and applying it twice
//! changes nothing. keepalived's callbacks come to the same ends (vrrp_sync.c); where a member's timer ends while another
//! is content, the member waits for a further full timer and stays wanting.

use super::io::Role;

/// The standing of one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    pub role: Role,
    /// Held in FAULT by something of its own.
    pub faulty: bool,
    /// Its down timer has ended and nobody better was heard since.
    pub wants: bool,
}

/// What every member has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    AllFault,
    AllBackup,
    AllMaster,
}

/// The table above. An empty group is nobody's business and counts as content.
pub fn judge(members: impl IntoIterator<Item = Member>) -> Verdict {
    let mut any = false;
    let mut content = false;
    for member in members {
        any = true;
        if member.faulty {
            return Verdict::AllFault;
        }
        content |= match member.role {
            Role::Master => false,
            Role::Backup => !member.wants,
            // Not started, or about to leave FAULT: it will be BACKUP.
            Role::Init | Role::Fault => true,
        };
    }
    if any && !content { Verdict::AllMaster } else { Verdict::AllBackup }
}

/// The state shown for a group: the state of its members, which after the table has been applied is the same for all.
/// Before the first application it is INIT.
pub fn role(members: impl IntoIterator<Item = Role>) -> Role {
    let mut shown = None;
    for role in members {
        shown = match (shown, role) {
            (_, Role::Fault) | (Some(Role::Fault), _) => Some(Role::Fault),
            (None, role) => Some(role),
            (Some(a), b) if a == b => Some(a),
            (Some(Role::Init), _) | (_, Role::Init) => Some(Role::Init),
            _ => Some(Role::Backup),
        };
    }
    shown.unwrap_or(Role::Init)
}
