//! Each reader with each of its seeds and with mutations of it that know nothing of its form, the same ones each time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time that any bytes may take, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(10);
/// What numbers and texts go wrong at.
const PIECES: [&[u8]; 16] = [
    b"0",
    b"-1",
    b"18446744073709551616",
    b"79228162514264337593543950336",
    b"1e400",
    b"0.0000000000000000000000000001",
    b"null",
    b"{}",
    b"[[[[[[[[",
    b"\"\"",
    b"\\u0000",
    b"\xff\xfe",
    "\u{202e}\u{10ffff}".as_bytes(),
    b"9999-12-31T23:59:59.999999999Z",
    b"-262143-01-01T00:00:00+23:59",
    b"\r\n\r\n",
];

struct Chance(u64);

impl Chance {
    /// Below a bound (splitmix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) >> 16).unwrap() % bound.max(1)
    }
}

/// Some changes to some of its bytes.
fn mutated(bytes: &[u8], others: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let to = (at + chance.below(16)).min(bytes.len());
        match chance.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(chance.below(256)).unwrap(),
            2 => drop(bytes.drain(at..to)),
            3 => drop(bytes.splice(at..at, bytes[at..to].to_vec())),
            4 => bytes.truncate(at),
            5 => {
                let other = &others[chance.below(others.len())];
                let from = chance.below(other.len() + 1);
                let until = (from + chance.below(64)).min(other.len());
                drop(bytes.splice(at..to, other[from..until].iter().copied()));
            }
            6 => drop(bytes.splice(at..at, vec![bytes.get(at).copied().unwrap_or(b'['); chance.below(400)])),
            _ => drop(bytes.splice(at..to, PIECES[chance.below(PIECES.len())].iter().copied())),
        }
    }
    bytes
}

fn bears(name: &str, read: fn(&[u8]), rounds: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    paths.sort();
    let seeds = paths.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let mut chance = Chance(7);
    let try_one = |bytes: &[u8]| {
        let began = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| read(bytes)));
        let took = began.elapsed();
        assert!(ended.is_ok() && took < LONGEST, "{name} after {} ms on: {}", took.as_millis(), bytes.escape_ascii());
    };
    for seed in &seeds {
        try_one(seed);
        for _ in 0..rounds {
            try_one(&mutated(seed, &seeds, &mut chance));
        }
    }
}

macro_rules! tests {
    ($($test:ident: $reader:ident, $rounds:literal;)*) => {
        $(#[test]
        fn $test() {
            bears(stringify!($reader), super::$reader, $rounds);
        })*
    };
}

tests! {
    no_answer_of_alpacas_breaks_its_reader: alpaca_answers, 600;
    no_event_of_alpacas_breaks_its_reader: alpaca_events, 2_000;
    no_body_breaks_its_reader: bodies, 600;
    no_configuration_breaks_its_reader: configuration, 40;
    no_request_to_the_double_breaks_its_reader: double, 1_000;
    no_header_breaks_its_reader: headers, 1_000;
    no_query_string_breaks_its_reader: queries, 2_000;
    no_file_of_quotes_breaks_its_reader: quotes, 1_000;
    no_scenario_breaks_its_reader: scenario, 200;
    no_value_of_a_switch_breaks_its_reader: switchboard, 2_000;
}
