//! The same images, whether a device holds them all or is sent each batch.

use tch::{Device, Kind, Tensor};

use crate::input::batch_loader::BatchLoader;
use crate::shard::Row;
use crate::testing::{cache, definition, shard, squares};
use tusk_core::options::Architecture;

#[test]
fn a_shard_on_the_device_gives_the_images_that_are_gathered_one_by_one() {
    let preprocessing = definition(Architecture::CNN).preprocessing;
    // In memory, and where there is no room for that, on disk. More images than are sent at a time.
    for memory_bytes in [1 << 30, 0] {
        let shard = shard(&cache(memory_bytes, 1 << 30), &squares(300), 0, 1, 32).unwrap();
        assert_eq!(shard.is_in_memory(), memory_bytes > 0);
        let mut sent = BatchLoader::once(&preprocessing, Device::Cpu);
        let mut held = BatchLoader::once(&preprocessing, Device::Cpu).resident(&shard).unwrap();
        let backwards: Vec<Row> = shard.rows.iter().rev().copied().collect();
        for rows in [&backwards[..7], &backwards[250..], &shard.rows[..1], &[]] {
            let (sent, held) = (sent.batch(&shard, rows).unwrap(), held.batch(&shard, rows).unwrap());
            assert_eq!((sent.size(), sent.kind()), (vec![rows.len() as i64, 32, 32, 1], Kind::Uint8));
            assert!(sent == held);
            let sums: Vec<i64> =
                Vec::try_from(sent.flatten(1, -1).sum_dim_intlist([1].as_slice(), false, Kind::Int64)).unwrap();
            assert!(sums.iter().zip(rows).all(|(sum, row)| *sum as u64 == row.sum), "each row has its own image");
        }
    }
    let batches = Tensor::zeros([2, 32, 32, 1], (Kind::Uint8, Device::Cpu));
    assert_eq!(crate::input::batch_loader::on_device(&[0; 2048], &[32, 32, 1], Device::Cpu).unwrap(), batches);
}
