//! Tests of the assignment of rows to workers, the limits of the cache, and rows that cannot be used.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tusk_core::ids::WorkerId;
use tusk_core::job::Rows;
use tusk_core::manifest::Preprocessing;
use tusk_core::options::{Architecture, ModelSpec};
use tusk_core::random::content_hash;
use tusk_pixels::{Channels, decode, decode_square};

use super::{Row, Shard, ShardBuilder, ShardKey};
use crate::error::Error;
use crate::testing::{Record, builder, cache, encoded_image, shard, squares, table};

const MIB: u64 = 1 << 20;

fn pixels(shard: &Shard) -> Vec<u8> {
    let mut out = Vec::new();
    shard.gather(&shard.rows, &mut out).unwrap();
    out
}

/// A row without the place of its pixels.
fn identity(row: &Row) -> (u64, u32, u64, u64, u64) {
    (row.content, row.label, row.key, row.sum, row.square_sum)
}

#[test]
fn each_row_of_a_table_belongs_to_exactly_one_worker() {
    let records = squares(40);
    let cache = cache(1 << 30, 0);
    let shards: Vec<Shard> = (0..3).map(|worker| shard(&cache, &records, worker, 3, 32).unwrap()).collect();
    assert!(shards.iter().all(|shard| !shard.rows.is_empty()));
    let mut found: Vec<u64> = shards.iter().flat_map(|shard| shard.rows.iter().map(|row| row.content)).collect();
    let mut wanted: Vec<u64> = records.iter().map(|r| content_hash(r.image.as_deref().unwrap())).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

#[test]
fn every_worker_gets_every_class_of_a_table_sorted_by_label() {
    let mut records = squares(40);
    records.sort_by(|a, b| a.label.cmp(&b.label));
    for worker in 0..3 {
        assert_eq!(shard(&cache(1 << 30, 0), &records, worker, 3, 32).unwrap().labels, ["left", "right"]);
    }
}

#[test]
fn a_shard_does_not_depend_on_the_order_of_the_table() {
    let records = squares(30);
    let reversed: Vec<Record> = records.iter().rev().cloned().collect();
    let cache = cache(1 << 30, 0);
    let [a, b] = [&records, &reversed].map(|records| shard(&cache, records, 1, 2, 32).unwrap());
    assert!(a.rows.len() > 1);
    assert_eq!(a.labels, b.labels);
    assert!(a.rows.iter().map(identity).eq(b.rows.iter().map(identity)));
    assert!(pixels(&a) == pixels(&b));
}

#[test]
fn a_row_keeps_its_own_pixels_label_and_sums() {
    let records = squares(12);
    let shard = shard(&cache(1 << 30, 0), &records, 0, 1, 16).unwrap();
    for row in &shard.rows {
        let of = |r: &&Record| content_hash(r.image.as_deref().unwrap()) == row.content;
        let record = records.iter().find(of).unwrap();
        let wanted = decode_square(record.image.as_deref().unwrap(), Channels::Grey, 16).unwrap().data;
        let mut found = Vec::new();
        shard.gather(&[*row], &mut found).unwrap();
        assert!(found == wanted, "{}", record.name.as_deref().unwrap());
        assert_eq!(shard.labels[row.label as usize], record.label.as_deref().unwrap());
        assert_eq!(row.sum, wanted.iter().map(|v| u64::from(*v)).sum::<u64>());
        assert_eq!(row.square_sum, wanted.iter().map(|v| u64::from(*v).pow(2)).sum::<u64>());
    }
}

#[test]
fn a_shard_larger_than_memory_is_moved_to_disk_unchanged() {
    // An image has 1 MiB and a chunk has eight images, so the ninth image does not fit into 8 MiB.
    let records = squares(12);
    let in_memory = shard(&cache(64 * MIB, 0), &records, 0, 1, 1024).unwrap();
    let on_disk = shard(&cache(8 * MIB, 64 * MIB), &records, 0, 1, 1024).unwrap();
    let never_in_memory = shard(&cache(0, 64 * MIB), &records, 0, 1, 1024).unwrap();
    assert!(in_memory.is_in_memory() && !on_disk.is_in_memory() && !never_in_memory.is_in_memory());
    let wanted = pixels(&in_memory);
    assert_eq!(wanted.len() as u64, 12 * MIB);
    assert!(wanted == pixels(&on_disk) && wanted == pixels(&never_in_memory));
}

#[test]
fn a_shard_larger_than_memory_and_disk_is_refused_and_releases_its_reservations() {
    let cache = cache(8 * MIB, 10 * MIB);
    let refusal = shard(&cache, &squares(12), 0, 1, 1024).unwrap_err();
    assert!(matches!(refusal, Error::CacheFull { needed: 1_048_576, budget: 10_485_760 }), "{refusal:?}");
    assert_eq!(
        refusal.to_string(),
        "decoded images need 1048576 bytes, and the disk cache has 10485760; raise TUSK_CACHE_DISK_BYTES, or choose a \
         smaller image_size"
    );
    assert!(cache.reserve_memory(8 * MIB).is_some());
    assert!(cache.reserve_disk(10 * MIB).is_ok());
}

#[test]
fn unusable_rows_are_counted_and_named_by_exactly_one_worker() {
    let mut records = squares(6);
    let cut = records[1].image.as_ref().map(|bytes| bytes[..bytes.len() / 2].to_vec());
    let label = Some("left".to_owned());
    records.push(Record { image: cut, label: label.clone(), name: Some("cut.png".into()), ..Record::default() });
    records.push(Record { image: None, label: label.clone(), name: Some("gone.png".into()), ..Record::default() });
    records.push(Record { image: Some(b"<html>".to_vec()), label, ..Record::default() });
    records.push(Record { label: None, ..squares(8)[7].clone() });

    let cache = cache(1 << 30, 0);
    let shards: Vec<Shard> = (0..3).map(|worker| shard(&cache, &records, worker, 3, 32).unwrap()).collect();
    assert_eq!(shards.iter().map(|s| s.rows.len()).sum::<usize>(), 6);
    assert_eq!(shards.iter().map(|s| s.skipped).sum::<u64>(), 3);
    assert_eq!(shards.iter().map(|s| s.null_labels).sum::<u64>(), 1);
    let mut named: Vec<String> =
        shards.iter().flat_map(|s| &s.unreadable).map(|image| format!("{}: {}", image.name, image.reason)).collect();
    named.sort();
    assert!(named[0].starts_with("cut.png: the PNG image is "), "{named:?}");
    assert_eq!(named[1], "gone.png: it is NULL");
    assert!(named[2].starts_with("row 8: unsupported image format"), "{named:?}");
    assert_eq!(named.len(), 3);
}

#[test]
fn unreadable_images_beyond_the_named_ones_are_counted() {
    let broken =
        |i: u32| Record { image: Some(i.to_le_bytes().to_vec()), label: Some("x".into()), ..Record::default() };
    let records: Vec<Record> = (0..50).map(broken).collect();
    let shard = shard(&cache(1 << 30, 0), &records, 0, 1, 32).unwrap();
    assert_eq!((shard.skipped, shard.unreadable.len(), shard.rows.len()), (50, 20, 0));
}

#[test]
fn a_split_keeps_groups_together_and_loses_no_row() {
    let mut records = squares(60);
    for (i, record) in records.iter_mut().enumerate() {
        record.group = Some(format!("person{}", i / 4));
    }
    let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.split.validation_fraction = 0.3);
    let cache = cache(1 << 30, 0);
    let (mut training, mut held_out) = (BTreeSet::new(), BTreeSet::new());
    let mut rows = 0;
    for worker in 0..2 {
        let shard = shard(&cache, &records, worker, 2, 32).unwrap();
        let select = |rows| shard.select(rows, &spec, &[]);
        let (train, held) = (select(Rows::Training), select(Rows::HeldOut));
        assert_eq!(train.len() + held.len(), select(Rows::All).len());
        rows += train.len() + held.len();
        training.extend(train.iter().map(|row| row.key));
        held_out.extend(held.iter().map(|row| row.key));
    }
    assert_eq!(rows, 60);
    assert_eq!(training.len() + held_out.len(), 15, "fifteen patients, each on one side on every worker");
    assert!(training.is_disjoint(&held_out) && !training.is_empty() && !held_out.is_empty());
}

#[test]
fn a_cancelled_builder_stops() {
    let cancelled = Arc::new(AtomicBool::new(true));
    let mut builder =
        ShardBuilder::new(cache(1 << 30, 0), (WorkerId(0), 1), &Preprocessing::plain(32, 1, 0.0, 1.0), 1, cancelled);
    assert!(matches!(builder.push(&table(&squares(3))), Err(Error::Cancelled)));
}

#[test]
fn a_table_without_rows_is_an_empty_shard() {
    let mut builder = builder(&cache(0, 0), 0, 1, 32);
    builder.push(&table(&[])).unwrap();
    let shard = builder.finish().unwrap();
    assert!(shard.rows.is_empty() && shard.labels.is_empty());
}

#[tokio::test]
async fn concurrent_tasks_build_a_shard_once() {
    let cache = cache(1 << 30, 0);
    let builds = AtomicUsize::new(0);
    let build = || async {
        builds.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        shard(&cache, &squares(4), 0, 1, 32)
    };
    let key = || ShardKey("table".into());
    let (a, b) = tokio::join!(cache.get_or_build(key(), build()), cache.get_or_build(key(), build()));
    let ((a, built_a), (b, built_b)) = (a.unwrap(), b.unwrap());
    assert!(Arc::ptr_eq(&a, &b));
    assert_eq!((builds.load(Ordering::Relaxed), built_a, built_b), (1, true, false));
    let (_, built) = cache.get_or_build(ShardKey("another".into()), build()).await.unwrap();
    assert!(built && builds.load(Ordering::Relaxed) == 2);
}

#[tokio::test]
async fn a_failed_build_is_retried() {
    let cache = cache(1 << 30, 0);
    let key = || ShardKey("table".into());
    assert!(cache.get_or_build(key(), async { Err(Error::Cancelled) }).await.is_err());
    let (shard, built) = cache.get_or_build(key(), async { shard(&cache, &squares(4), 0, 1, 32) }).await.unwrap();
    assert!(built && shard.rows.len() == 4);
}

#[tokio::test]
async fn the_least_recently_used_shard_is_evicted_and_shards_in_use_are_kept() {
    // A chunk is 8 MiB, so two shards fit.
    let cache = cache(16 * MIB, 0);
    let build = async |name: &str| {
        let records = squares(4);
        cache.get_or_build(ShardKey(name.into()), async { shard(&cache, &records, 0, 1, 32) }).await
    };
    let (first, _) = build("first").await.unwrap();
    drop(build("second").await.unwrap());
    assert!(build("third").await.is_ok(), "the second was idle");
    assert!(!build("first").await.unwrap().1, "the first was in use");
    let (third, built) = build("third").await.unwrap();
    assert!(!built);
    assert!(matches!(build("fourth").await, Err(Error::CacheFull { .. })), "both are in use");
    drop((first, third));
    assert!(build("fourth").await.unwrap().1);
    assert!(!build("third").await.unwrap().1, "the first was used before the third");
}

#[tokio::test]
async fn a_request_that_can_never_fit_evicts_no_shard() {
    let cache = cache(16 * MIB, 2 * MIB);
    let key = || ShardKey("table".into());
    let build = async || cache.get_or_build(key(), async { shard(&cache, &squares(4), 0, 1, 32) }).await.unwrap().1;
    assert!(build().await);
    let half = cache.reserve_disk(MIB).unwrap();
    assert!(cache.reserve_disk(2 * MIB).is_err(), "the shard is in memory and would free no disk");
    assert!(cache.reserve_memory(17 * MIB).is_none(), "it is more than the limit");
    drop(half);
    assert!(!build().await, "the shard is still there");
}

#[test]
fn a_refused_request_does_not_affect_a_request_that_fits() {
    let cache = cache(100, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200_000).for_each(|_| assert!(cache.reserve_memory(101).is_none())));
        scope.spawn(|| (0..200_000).for_each(|_| assert!(cache.reserve_memory(50).is_some())));
    });
    assert!(cache.reserve_memory(u64::MAX).is_none());
    assert!(cache.reserve_memory(100).is_some());
}

#[test]
fn the_test_images_have_the_given_levels_and_are_unique() {
    let image = encoded_image(4, "png", |x, y| (x * 10 + y) as u8);
    assert_eq!(decode(&image, Channels::Grey).unwrap().data[5], 11);
    let contents: BTreeSet<_> = squares(60).into_iter().map(|r| r.image).collect();
    assert_eq!(contents.len(), 60);
}
