//! Tests that a batch is the same whether the whole shard is on the device or each batch is copied.

use tch::{Device, Kind, Tensor};

use crate::input::batch_loader::BatchLoader;
use crate::shard::Row;
use crate::testing::{cache, definition, shard, squares};
use tusk_core::options::Architecture;

#[test]
fn a_resident_shard_gives_the_same_batches_as_copying_each_batch() {
    let preprocessing = definition(Architecture::CNN).preprocessing;
    // The shard is in memory or on disk. It has more images than are copied at a time.
    for memory_bytes in [1 << 30, 0] {
        let shard = shard(&cache(memory_bytes, 1 << 30), &squares(300), 0, 1, 32).unwrap();
        assert_eq!(shard.is_in_memory(), memory_bytes > 0);
        let mut copied = BatchLoader::once(&preprocessing, Device::Cpu);
        let mut resident = BatchLoader::once(&preprocessing, Device::Cpu).resident(&shard).unwrap();
        let backwards: Vec<Row> = shard.rows.iter().rev().copied().collect();
        for rows in [&backwards[..7], &backwards[250..], &shard.rows[..1], &[]] {
            let (copied, resident) = (copied.batch(&shard, rows).unwrap(), resident.batch(&shard, rows).unwrap());
            assert_eq!((copied.size(), copied.kind()), (vec![rows.len() as i64, 32, 32, 1], Kind::Uint8));
            assert!(copied == resident);
            let sums: Vec<i64> =
                Vec::try_from(copied.flatten(1, -1).sum_dim_intlist([1].as_slice(), false, Kind::Int64)).unwrap();
            assert!(sums.iter().zip(rows).all(|(sum, row)| *sum as u64 == row.sum), "each row gets its own image");
        }
    }
    let batches = Tensor::zeros([2, 32, 32, 1], (Kind::Uint8, Device::Cpu));
    assert_eq!(crate::input::batch_loader::on_device(&[0; 2048], &[32, 32, 1], Device::Cpu).unwrap(), batches);
}
