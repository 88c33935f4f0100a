//! Many requests in one send, of which only the last asks for its answer.
//!
//! The kernel carries requests out in their order and answers a refusal unasked, so the last one's answer says that all others are
//! known as well: a thousand addresses or servers cost some answers to be made, queued and read, and not a thousand. Lost
//! answers are an error of the socket, and then nobody knows.

use super::channel::{Request, append};
use netlink_packet_core::{NLM_F_ACK, NLMSG_ERROR, NetlinkHeader, NetlinkSerializable};

/// What is known of a batch that has been sent.
#[derive(Debug)]
pub(in crate::kernel) struct Answers<E> {
    /// The sequence number of the first request; the others follow it.
    first: u32,
    /// By position in the batch.
    refused: Vec<Option<E>>,
    is_complete: bool,
}

impl<E> Answers<E> {
    /// Puts the requests into `bytes`, numbered from `first`.
    pub(in crate::kernel) fn ask<T: NetlinkSerializable>(
        bytes: &mut Vec<u8>,
        first: u32,
        requests: impl ExactSizeIterator<Item = Request<T>>,
    ) -> Answers<E> {
        let count = requests.len();
        for ((sequence, left), request) in (first..).zip((0..count).rev()).zip(requests) {
            let asks = if left == 0 { NLM_F_ACK } else { 0 };
            append(bytes, request.message, request.flags | asks, sequence);
        }
        Answers { first, refused: std::iter::repeat_with(|| None).take(count).collect(), is_complete: count == 0 }
    }

    /// Takes in a message that came back; `refusal` reads an NLMSG_ERROR. What belongs to another batch is passed over.
    pub(in crate::kernel) fn take(&mut self, header: &NetlinkHeader, refusal: impl FnOnce() -> Result<(), E>) {
        let position = usize::try_from(header.sequence_number.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        let is_last = position.checked_add(1) == Some(self.refused.len());
        if let Some(slot) = self.refused.get_mut(position)
            && header.message_type == NLMSG_ERROR
        {
            if let Err(reason) = refusal() {
                slot.get_or_insert(reason);
            }
            self.is_complete |= is_last;
        }
    }

    /// The last request has been answered.
    pub(in crate::kernel) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What became of each, in order. Without the last answer what was not refused may have been carried out: it is `unknown`.
    pub(in crate::kernel) fn outcomes(self, unknown: impl Fn() -> E) -> Vec<Result<(), E>> {
        let is_complete = self.is_complete;
        let outcome = |refused: Option<E>| match refused {
            Some(reason) => Err(reason),
            None if is_complete => Ok(()),
            None => Err(unknown()),
        };
        self.refused.into_iter().map(outcome).collect()
    }
}

/// NLMSG_ERROR to request `sequence`, as the kernel writes it: `errno` 0 for what has been carried out.
#[cfg(test)]
pub(in crate::kernel) fn answer(sequence: u32, errno: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(20_u32.to_ne_bytes());
    bytes.extend(NLMSG_ERROR.to_ne_bytes());
    bytes.extend(0_u16.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend((-errno).to_ne_bytes());
    bytes
}
