#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tranche::hostile::alpaca_answers(bytes));
