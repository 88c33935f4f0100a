//! Whether a virtual server has its quorum: a table over four numbers, and nothing else.

/// The verdict over servers that weigh `alive` together.
///
/// Without the quorum it takes `quorum` + `hysteresis` to gain it; with it, it is lost below `quorum` − `hysteresis`, and in
/// any case with nothing. That is keepalived's rule (`update_quorum_state`) but for a quorum of 0, which it has when all
/// weights are 0: servers that get no connection are no quorum, and the sorry server serves.
pub fn judge(alive: u64, quorum: u32, hysteresis: u32, had: bool) -> bool {
    let (quorum, hysteresis) = (u64::from(quorum), u64::from(hysteresis));
    alive > 0 && if had { alive >= quorum.saturating_sub(hysteresis) } else { alive >= quorum + hysteresis }
}
