//! What parsers do, seen from outside: `programs/parser.p4` reports in six bytes in front of the
//! packet (error, state, length in two, stack depth, what was ahead).
use crate::programs::{Bench, run};

struct Report {
    error: u8,
    state: u8,
    depth: u8,
    ahead: u8,
    rest: Vec<u8>,
}

const OK: u8 = 0;
const TOO_SHORT: u8 = 1;
const OUT_OF_BOUNDS: u8 = 2;
const HEADER_TOO_SHORT: u8 = 3;
const UNLUCKY: u8 = 4;

fn parse(bench: &mut Bench, frame: &[u8]) -> Report {
    let out = bench.send(frame);
    assert_eq!(
        u16::from_be_bytes([out[2], out[3]]) as usize,
        frame.len(),
        "packet_length"
    );
    Report {
        error: out[0],
        state: out[1],
        depth: out[4],
        ahead: out[5],
        rest: out[6..].to_vec(),
    }
}

#[test]
fn an_empty_packet_is_too_short_and_leaves_as_it_came() {
    let report = parse(&mut run("parser"), &[]);
    assert_eq!((report.error, report.rest), (TOO_SHORT, vec![]));
}

#[test]
fn a_header_that_does_not_fit_stays_in_the_payload() {
    let report = parse(&mut run("parser"), &[1, 0x12]);
    assert_eq!(report.error, TOO_SHORT);
    assert_eq!(report.rest, [1, 0x12], "nothing is lost");
}

#[test]
fn select_on_two_keys_takes_the_first_case_that_matches() {
    let mut bench = run("parser");
    let mut state = |frame: &[u8]| parse(&mut bench, frame).state;
    assert_eq!(state(&[1, 0x12, 0x34]), 3);
    assert_eq!(state(&[1, 0x12, 0x35]), 1);
    assert_eq!(state(&[1, 0x22, 0x34]), 2);
    assert_eq!(state(&[1, 0x22, 0x35]), 0);
}

#[test]
fn select_knows_ranges_and_masks() {
    let mut bench = run("parser");
    let mut state = |kind: u8| parse(&mut bench, &[kind]).state;
    assert_eq!([7, 8, 9, 11, 12].map(&mut state), [0, 8, 8, 8, 0]);
    assert_eq!([0x3f, 0x40, 0x4f, 0x50].map(&mut state), [0, 4, 4, 0]);
}

#[test]
fn a_value_set_holds_what_the_control_plane_puts_there() {
    let mut bench = run("parser");
    let (set, info) = bench
        .control
        .pipeline()
        .value_sets()
        .next()
        .expect("a value set");
    assert_eq!((info.width, info.size), (8, 4));
    assert_eq!(parse(&mut bench, &[0xee]).state, 0);
    let members = [vec![0xee], vec![0xf0]];
    bench
        .control
        .write(bench.now)
        .set_value_set(set, &members)
        .expect("it fits");
    assert_eq!(bench.control.value_set(set), members);
    assert_eq!(parse(&mut bench, &[0xee]).state, 5);
    assert_eq!(parse(&mut bench, &[0xef]).state, 0);
    assert_eq!(parse(&mut bench, &[0xf0]).state, 5);
    bench
        .control
        .write(bench.now)
        .set_value_set(set, &[])
        .expect("it may be empty");
    assert_eq!(parse(&mut bench, &[0xee]).state, 0);
    let five: Vec<Vec<u8>> = (0..5).map(|i| vec![i]).collect();
    assert!(
        bench
            .control
            .write(bench.now)
            .set_value_set(set, &five)
            .is_err(),
        "it holds four"
    );
    assert!(
        bench
            .control
            .write(bench.now)
            .set_value_set(set, &[vec![1, 0]])
            .is_err(),
        "9 bits"
    );
}

#[test]
fn a_stack_fills_up_to_its_size() {
    let mut bench = run("parser");
    let report = parse(&mut bench, &[2, 3, 9]);
    assert_eq!((report.error, report.depth), (OK, 1));
    let report = parse(&mut bench, &[2, 2, 4, 7, 9]);
    assert_eq!((report.error, report.depth), (OK, 3));
    assert_eq!(report.rest, [2, 4, 7, 9], "pop_front took the first label");
    let report = parse(&mut bench, &[2, 2, 4, 6, 9]);
    assert_eq!((report.error, report.depth), (OUT_OF_BOUNDS, 3));
    assert_eq!(report.rest, [2, 4, 6, 9], "the fourth is payload");
}

#[test]
fn a_varbit_is_as_long_as_the_program_says() {
    let mut bench = run("parser");
    for n in 0..=8u8 {
        let mut frame = vec![3, n];
        frame.extend((0..n).map(|i| 0xd0 + i));
        frame.extend([0x77, 0xaa]);
        let report = parse(&mut bench, &frame);
        assert_eq!((report.error, report.rest), (OK, frame), "length {n}");
    }
    let too_long: Vec<u8> = [3, 9].into_iter().chain(10..30).collect();
    let report = parse(&mut bench, &too_long);
    assert_eq!((report.error, report.rest), (HEADER_TOO_SHORT, too_long));
    let report = parse(&mut bench, &[3, 4, 1, 2]);
    assert_eq!((report.error, report.rest), (TOO_SHORT, vec![3, 4, 1, 2]));
}

#[test]
fn lookahead_reads_without_consuming_and_not_beyond_the_end() {
    let mut bench = run("parser");
    let report = parse(&mut bench, &[4, 0x91, 0x23]);
    assert_eq!((report.error, report.state, report.ahead), (OK, 9, 0x23));
    assert_eq!(report.rest, [4, 0x91, 0x23]);
    assert_eq!(parse(&mut bench, &[4, 0x91]).error, TOO_SHORT);
}

#[test]
fn what_is_advanced_over_is_dropped() {
    let mut bench = run("parser");
    let report = parse(&mut bench, &[5, 0xaa, 0xbb, 0x12, 0x34, 9]);
    assert_eq!((report.error, report.rest), (OK, vec![5, 0x12, 0x34, 9]));
    assert_eq!(parse(&mut bench, &[5, 0xaa]).error, TOO_SHORT);
}

#[test]
fn a_failed_verify_ends_the_parser_with_its_error() {
    let mut bench = run("parser");
    let report = parse(&mut bench, &[6, 0x00, 14, 1]);
    assert_eq!((report.error, report.state), (OK, 6));
    let report = parse(&mut bench, &[6, 0x00, 13, 1]);
    assert_eq!((report.error, report.state), (UNLUCKY, 0));
    assert_eq!(report.rest, [6, 0, 13, 1]);
}

#[test]
fn fields_of_128_bits_are_selected_and_signed_fields_saturate() {
    let mut bench = run("parser");
    let mut frame = vec![
        7, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x05,
    ];
    let report = parse(&mut bench, &frame);
    assert_eq!((report.error, report.state), (OK, 1));
    assert_eq!(report.rest[17] as i8, -95);
    frame[17] = -100i8 as u8;
    frame[16] = 2;
    let report = parse(&mut bench, &frame);
    assert_eq!((report.state, report.rest[17] as i8), (2, -128));
    frame[4] = 0xb9;
    assert_eq!(parse(&mut bench, &frame).state, 0);
}
