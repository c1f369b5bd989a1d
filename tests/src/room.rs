//! The program with less room in a table than it is committed with.

use std::path::{Path, PathBuf};

use crate::repository;

/// Files of P4Info and of the program as the switch gets it, where the table has room for so many rows.
///
/// # Panics
/// When the program is not as p4c writes it.
pub fn with_room(directory: &Path, table: &str, rows: usize) -> [PathBuf; 2] {
    let compiled = repository().join("p4src/compiled");
    let p4info = std::fs::read_to_string(compiled.join("mqttsn.p4info.txtpb")).expect("P4Info");
    let (before, from) = p4info
        .split_once(&format!("name: \"{table}\"\n"))
        .expect("the table");
    let (shape, from) = from.split_once("  size: ").expect("its size");
    assert!(!shape.contains("tables {"), "the size of another table");
    let (_, after) = from.split_once('\n').expect("a line");
    let p4info = format!("{before}name: \"{table}\"\n{shape}  size: {rows}\n{after}");
    let json = std::fs::read(compiled.join("mqttsn.json")).expect("the program");
    let mut json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let pipelines = json["pipelines"].as_array_mut().expect("pipelines");
    let tables = pipelines
        .iter_mut()
        .flat_map(|pipeline| pipeline["tables"].as_array_mut().expect("tables"));
    let mut sizes = tables.filter(|of| of["name"] == table);
    sizes.next().expect("the table")["max_size"] = rows.into();
    // What counts and measures each of its rows has as many; else BMv2 aborts.
    for arrays in ["counter_arrays", "meter_arrays"] {
        for array in json[arrays].as_array_mut().expect("arrays") {
            if array["binding"] == table {
                array["size"] = rows.into();
            }
        }
    }
    let files = [directory.join("p4info.txtpb"), directory.join("small.json")];
    std::fs::write(&files[0], p4info).expect("a file");
    std::fs::write(&files[1], json.to_string()).expect("a file");
    files
}
