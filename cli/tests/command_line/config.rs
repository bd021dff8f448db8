//! The configuration file, when it is wrong.

use crate::bench::Bench;

const FILE: &str = ".config/tesfs/config.toml";

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    let bench = Bench::new();
    bench.write(FILE, "[mount]\n\n[performance]\nsyncronous = \"full\"\n");
    insta::assert_snapshot!(bench.refused(2, &["bucket", "create", "photos"]));
    assert!(!bench.data_dir().exists(), "a wrong configuration touches nothing");
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    let bench = Bench::new();
    bench.write(FILE, "[performance]\nsynchronous = \"often\"\n");
    insta::assert_snapshot!(bench.refused(2, &["bucket", "create", "photos"]));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let bench = Bench::new();
    bench.refused(2, &["--config", "none.toml", "bucket", "create", "photos"]);
}

#[test]
fn a_good_file_is_taken() {
    let bench = Bench::new();
    bench.write("own.toml", "[performance]\nsynchronous = \"full\"\nreaders_max = 2\n");
    bench.ok(&["--config", "own.toml", "bucket", "create", "photos"]);
}
