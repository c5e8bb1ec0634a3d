//! The AWS command line on a real `bue bucket`: files of all sizes there and back, folders, and who has no key.

mod fleet;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::process::Command;

use fleet::{Ended, Fleet};

/// Many parts of an upload.
const LARGE_BYTES: usize = 100_000_000;

/// A command of the program that `scripts/test` installs, with the keys of the fleet's bucket.
fn aws(fleet: &mut Fleet, words: &[&str]) -> Ended {
    let program = std::env::var("BUE_AWS").unwrap_or_else(|_| "aws".to_owned());
    let mut command = Command::new(&program);
    command.arg("--endpoint-url").arg(format!("http://{}", fleet.noted("bucket"))).args(words);
    command.current_dir(fleet.path()).env("HOME", fleet.path());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_SHARED_CREDENTIALS_FILE", fleet.path().join(".bue/bucket/credentials"));
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_DEFAULT_REGION", "us-east-1");
    fleet.spawn_command(command, "aws").end()
}

/// Bytes that no two parts have alike.
fn write_large(fleet: &Fleet, name: &str) {
    let mut file = BufWriter::new(File::create(fleet.path().join(name)).unwrap());
    let mut state = 1_u64;
    for _ in 0..LARGE_BYTES / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&state.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

fn bucket() -> Fleet {
    let mut fleet = Fleet::empty();
    fleet.start_bucket();
    fleet
}

#[test]
fn a_file_of_many_parts_comes_back_as_it_was() {
    let mut fleet = bucket();
    write_large(&fleet, "large");
    aws(&mut fleet, &["s3", "cp", "large", "s3://bue/folder/large", "--no-progress"]).expect(0);
    aws(&mut fleet, &["s3", "cp", "s3://bue/folder/large", "s3://bue/folder/copy", "--no-progress"]).expect(0);
    for (key, name) in [("large", "back"), ("copy", "back of the copy")] {
        aws(&mut fleet, &["s3", "cp", &format!("s3://bue/folder/{key}"), name, "--no-progress"]).expect(0);
        let content = |name: &str| fs::read(fleet.path().join(name)).unwrap();
        assert!(content(name) == content("large"), "{name}");
    }
    let listed = aws(&mut fleet, &["s3", "ls", "s3://bue/", "--recursive"]).expect(0).stdout;
    assert!(listed.contains("100000000 folder/large") && listed.contains("100000000 folder/copy"), "{listed}");
}

#[test]
fn folders_are_synced_both_ways_and_removed() {
    let mut fleet = bucket();
    let files = [("one", "1"), ("empty", ""), ("a/b/ü +%&?.txt", "ü"), ("sp ace/x y", "x")];
    for (name, content) in files {
        fleet.write(&format!("tree/{name}"), content);
    }
    let uploaded = aws(&mut fleet, &["s3", "sync", "tree", "s3://bue/tree", "--no-progress"]).expect(0);
    assert_eq!(uploaded.stdout.lines().count(), files.len(), "{}", uploaded.stdout);
    let again = aws(&mut fleet, &["s3", "sync", "tree", "s3://bue/tree", "--no-progress"]).expect(0);
    assert_eq!(again.stdout, "");
    aws(&mut fleet, &["s3", "sync", "s3://bue/tree", "back", "--no-progress"]).expect(0);
    for (name, content) in files {
        assert_eq!(fs::read_to_string(fleet.path().join("back").join(name)).unwrap(), content, "{name}");
    }
    fs::remove_file(fleet.path().join("tree/one")).unwrap();
    aws(&mut fleet, &["s3", "sync", "tree", "s3://bue/tree", "--delete", "--no-progress"]).expect(0);
    let listed = aws(&mut fleet, &["s3", "ls", "s3://bue/tree/"]).expect(0).stdout;
    assert!(listed.contains("PRE a/") && listed.contains("empty") && !listed.contains("one"), "{listed}");
    aws(&mut fleet, &["s3", "rm", "s3://bue/tree", "--recursive"]).expect(0);
    assert_eq!(aws(&mut fleet, &["s3", "ls", "s3://bue", "--recursive"]).expect(0).stdout, "");
}

#[test]
fn what_is_not_there_and_who_has_no_key_is_told_by_name() {
    let mut fleet = bucket();
    aws(&mut fleet, &["s3", "cp", "s3://bue/nothing", "x"]).expect(1).says(&["404", "\"nothing\" does not exist"]);
    fleet.write("empty", "");
    let create = ["s3api", "put-object", "--bucket", "bue", "--key", "once", "--body", "empty", "--if-none-match", "*"];
    aws(&mut fleet, &create).expect(0);
    aws(&mut fleet, &create).expect(255).says(&["PreconditionFailed"]);
    fleet.write(".bue/bucket/credentials", "[default]\naws_access_key_id = AKIDSTRANGER\naws_secret_access_key = x\n");
    aws(&mut fleet, &["s3", "ls", "s3://bue"]).expect(255).says(&["InvalidAccessKeyId"]);
}
