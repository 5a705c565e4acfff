//! Applies a function to many items on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns the results of `work` for each index below `count`, in order. Each thread takes the next index when it is
/// free, because images differ in size. If a thread panics, its results are `None`.
pub(crate) fn map<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, work(index)));
        }
    };
    let mut results: Vec<Option<T>> = Vec::new();
    results.resize_with(count, || None);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(worker)).collect();
        let own = worker();
        let theirs = others.into_iter().filter_map(|thread| thread.join().ok()).flatten();
        own.into_iter().chain(theirs).for_each(|(index, result)| results[index] = Some(result));
    });
    results
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        for threads in [0, 1, 3, 50] {
            let squares = super::map(20, threads, |index| index * index);
            assert_eq!(squares, (0..20).map(|index| Some(index * index)).collect::<Vec<_>>());
        }
        assert!(super::map(0, 4, |_| ()).is_empty());
    }
}
