//! A SET as the master agent plays it (RFC 2741 §7.2.4), word for word: what is refused, what another agent could not do and has
//! to be taken back, and what a reload overtakes. The test is the master, so that a reload can stand between two of its words.

use super::ground::{Daemon, Ground, PATIENCE, instance, ready};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

const OPEN: u8 = 1;
const GET: u8 = 5;
const TEST_SET: u8 = 8;
const COMMIT_SET: u8 = 9;
const UNDO_SET: u8 = 10;
const CLEANUP_SET: u8 = 11;
const RESPONSE: u8 = 18;
/// Everything here is in network byte order.
const BIG: u8 = 16;
/// vrrpInstanceTable of KEEPALIVED-MIB.
const INSTANCES: [u32; 11] = [1, 3, 6, 1, 4, 1, 9586, 100, 5, 2, 3];

enum Value {
    Integer(i32),
    Text(&'static str),
}

struct Master {
    stream: UnixStream,
}

struct Heard {
    kind: u8,
    transaction: u32,
    packet: u32,
    payload: Vec<u8>,
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn oid(numbers: &[u32]) -> Vec<u8> {
    let mut bytes = vec![numbers.len() as u8, 0, 0, 0];
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    bytes
}

fn cell(column: u32, row: u32) -> Vec<u8> {
    oid(&[&INSTANCES[..], &[1, column, row]].concat())
}

impl Master {
    /// Takes the daemon's session.
    fn of(listener: &UnixListener) -> Master {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut master = Master { stream };
        let open = master.hear();
        assert_eq!(open.kind, OPEN);
        // No error; the session's number is in the header.
        master.say(RESPONSE, open.transaction, open.packet, &[0; 8]);
        master
    }

    fn say(&mut self, kind: u8, transaction: u32, packet: u32, payload: &[u8]) {
        let mut pdu = vec![1, kind, BIG, 0];
        for number in [7, transaction, packet, payload.len() as u32] {
            pdu.extend(number.to_be_bytes());
        }
        pdu.extend(payload);
        self.stream.write_all(&pdu).unwrap();
    }

    fn hear(&mut self) -> Heard {
        let mut header = [0; 20];
        self.stream.read_exact(&mut header).unwrap();
        assert_eq!(header[2] & BIG, BIG);
        let mut payload = vec![0; number(&header[16..]) as usize];
        self.stream.read_exact(&mut payload).unwrap();
        Heard { kind: header[1], transaction: number(&header[8..]), packet: number(&header[12..]), payload }
    }

    /// The answer: error and index, and the objects.
    fn ask(&mut self, kind: u8, transaction: u32, payload: &[u8]) -> ((u16, u16), Vec<u8>) {
        self.say(kind, transaction, u32::from(kind), payload);
        loop {
            let heard = self.hear();
            if (heard.kind, heard.transaction) == (RESPONSE, transaction) {
                let half = |at: usize| u16::from_be_bytes([heard.payload[at], heard.payload[at + 1]]);
                return ((half(4), half(6)), heard.payload[8..].to_vec());
            }
        }
    }

    fn test(&mut self, transaction: u32, objects: &[(u32, u32, Value)]) -> (u16, u16) {
        let mut payload = Vec::new();
        for (column, row, value) in objects {
            let (kind, data) = match value {
                Value::Integer(number) => (2_u16, number.to_be_bytes().to_vec()),
                // Four bytes, so that nothing is to be filled up.
                Value::Text(text) => (4, [&4_u32.to_be_bytes(), text.as_bytes()].concat()),
            };
            payload.extend(kind.to_be_bytes());
            payload.extend([0, 0]);
            payload.extend(cell(*column, *row));
            payload.extend(data);
        }
        self.ask(TEST_SET, transaction, &payload).0
    }

    fn word(&mut self, kind: u8, transaction: u32) -> (u16, u16) {
        self.ask(kind, transaction, &[]).0
    }

    /// Waits until the daemon shows this name in a row.
    fn until_named(&mut self, daemon: &Daemon, row: u32, name: &str) {
        let master = std::cell::RefCell::new(self);
        let range = [cell(2, row), vec![0; 4]].concat();
        daemon.wait_for(name, || {
            let (_, objects) = master.borrow_mut().ask(GET, 99, &range);
            objects.windows(name.len()).any(|part| part == name.as_bytes())
        });
    }
}

fn priorities(daemon: &Daemon) -> Vec<u64> {
    let status = daemon.ask(r#"{"request":"status"}"#);
    let all = status["status"]["instances"].as_array().unwrap().clone();
    all.iter().map(|one| one["base_priority"].as_u64().unwrap()).collect()
}

#[test]
fn a_set_is_made_whole_or_not_at_all() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let path = ground.directory.join("agentx");
    let listener = UnixListener::bind(&path).unwrap();
    let global = format!("global_defs {{\n enable_snmp_vrrp\n snmp_socket {}\n}}\n", path.display());
    let one = |name: &str, vrid: u8, priority: u8| {
        let text = instance(name, vrid, &format!("10.9.0.{vrid}/24"));
        text.replace("priority 200", &format!("priority {priority}"))
    };
    let with = |instances: &[String]| ground.configure(&(global.clone() + &instances.concat()));
    with(&[one("AAAA", 51, 200), one("BBBB", 52, 200), one("CCCC", 53, 200)]);
    let (daemon, mut master) = std::thread::scope(|scope| {
        let master = scope.spawn(|| Master::of(&listener));
        (ground.start("-P"), master.join().unwrap())
    });
    master.until_named(&daemon, 1, "AAAA");

    // The second object is wrong: by its type (7), its value (10), as one that is only read (17), by access (6).
    let good = || (7, 1, Value::Integer(150));
    let refused = [
        ((7, 2, Value::Text("1234")), 7),
        ((7, 2, Value::Integer(0)), 10),
        ((13, 2, Value::Integer(3)), 10),
        ((8, 2, Value::Integer(9)), 17),
        ((7, 9, Value::Integer(9)), 17),
        ((27, 2, Value::Integer(1)), 6),
    ];
    for (transaction, (bad, error)) in (10..).zip(refused) {
        assert_eq!(master.test(transaction, &[good(), bad]), (error, 2), "{transaction}");
        master.say(CLEANUP_SET, transaction, 1, &[]);
        // A master that went on all the same is told that nothing was done.
        assert_eq!(master.word(COMMIT_SET, transaction).0, 14, "{transaction}");
    }
    assert_eq!(priorities(&daemon), [200, 200, 200]);

    // Another agent could not do its part.
    assert_eq!(master.test(20, &[good(), (7, 2, Value::Integer(140)), (13, 2, Value::Integer(2))]), (0, 0));
    assert_eq!(master.word(COMMIT_SET, 20), (0, 0));
    daemon.wait_for("what was written", || priorities(&daemon) == [150, 140, 200]);
    daemon.wait_for_log("(BBBB) preemption disabled with SNMP");
    assert_eq!(master.word(UNDO_SET, 20), (0, 0));
    daemon.wait_for("what was before", || priorities(&daemon) == [200, 200, 200]);
    daemon.wait_for_log("(BBBB) preemption enabled with SNMP");

    // A reload renumbers the rows between test and commit: the SET fails, and nobody else gets its value.
    assert_eq!(master.test(30, &[(7, 2, Value::Integer(99)), (13, 2, Value::Integer(2))]), (0, 0));
    with(&[one("BBBB", 52, 200), one("CCCC", 53, 200)]);
    daemon.signal(libc::SIGHUP);
    master.until_named(&daemon, 1, "BBBB");
    assert_eq!(master.word(COMMIT_SET, 30).0, 14);
    assert_eq!(priorities(&daemon), [200, 200]);

    // A reload comes between commit and undo: what the file says now stays.
    assert_eq!(master.test(40, &[(7, 1, Value::Integer(150))]), (0, 0));
    assert_eq!(master.word(COMMIT_SET, 40), (0, 0));
    daemon.wait_for("what was written", || priorities(&daemon) == [150, 200]);
    with(&[one("DDDD", 54, 180), one("BBBB", 52, 180), one("CCCC", 53, 200)]);
    daemon.signal(libc::SIGHUP);
    master.until_named(&daemon, 1, "DDDD");
    assert_eq!(master.word(UNDO_SET, 40), (0, 0));
    assert_eq!(priorities(&daemon), [180, 180, 200]);
    assert_eq!(daemon.stop().code(), Some(0));
}
