//! What was used last, by its content: lists that many elements are cut out of, fetched once however many jobs of a loop ask for an
//! element at once; pages of lists; and tables at hand.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use protocol::Digest;
use tokio::sync::OnceCell;

use super::ValueError;

/// Most things that are kept: each may hold a file open.
const KEPT_MAX: usize = 64;

/// What is kept, and what that takes.
pub(super) trait Weigh {
    /// Its size on disk and in memory.
    fn weight_bytes(&self) -> u64;
}

type Cell<T> = Arc<OnceCell<Arc<T>>>;

/// The things that were used last, by their content.
#[derive(Debug)]
pub(super) struct Cache<T> {
    bytes_max: u64,
    cells: Mutex<LruCache<Digest, Cell<T>>>,
}

impl<T: Weigh> Cache<T> {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, cells: Mutex::new(LruCache::unbounded()) }
    }

    /// The thing with this content. `load` runs where nobody has loaded it; others wait for it.
    pub(super) async fn get<F>(&self, content: Digest, load: impl FnOnce() -> F) -> Result<Arc<T>, ValueError>
    where
        F: Future<Output = Result<T, ValueError>>,
    {
        let cell = self.with_cells(|cells| Arc::clone(cells.get_or_insert(content, Cell::default)));
        let list = cell.get_or_try_init(|| async { load().await.map(Arc::new) }).await?;
        self.with_cells(|cells| evict(cells, self.bytes_max));
        Ok(Arc::clone(list))
    }

    /// The thing with this content, where it is here.
    pub(super) fn find(&self, content: Digest) -> Option<Arc<T>> {
        self.with_cells(|cells| cells.get(&content).and_then(|cell| cell.get().cloned()))
    }

    /// Keeps a thing that is here already; one that alone is too large is not kept.
    pub(super) fn keep(&self, content: Digest, thing: Arc<T>) {
        if thing.weight_bytes() <= self.bytes_max {
            self.with_cells(|cells| {
                cells.put(content, Arc::new(OnceCell::new_with(Some(thing))));
                evict(cells, self.bytes_max);
            });
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.with_cells(LruCache::clear);
    }

    fn with_cells<R>(&self, action: impl FnOnce(&mut LruCache<Digest, Cell<T>>) -> R) -> R {
        // Nothing in here leaves it half done.
        action(&mut self.cells.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Forgets things, the ones unused for longest first, until the rest fits; the last one stays.
fn evict<T: Weigh>(cells: &mut LruCache<Digest, Cell<T>>, bytes_max: u64) {
    let weight = |cell: &Cell<T>| cell.get().map_or(0, |kept| kept.weight_bytes());
    let mut total: u64 = cells.iter().map(|(_, cell)| weight(cell)).sum();
    while cells.len() > 1 && (total > bytes_max || cells.len() > KEPT_MAX) {
        let Some((_, cell)) = cells.pop_lru() else { return };
        total = total.saturating_sub(weight(&cell));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::super::list::List;
    use super::*;

    fn list(text: &str) -> List {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        List::from_json(file, Path::new("test")).unwrap().unwrap()
    }

    async fn get(cache: &Cache<List>, text: &str, loads: &AtomicUsize) {
        let load = async || {
            loads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(list(text))
        };
        cache.get(Digest::of(text.as_bytes()), load).await.unwrap();
    }

    #[tokio::test]
    async fn a_list_that_many_ask_for_at_once_is_loaded_once() {
        let (cache, loads) = (Cache::new(1 << 20), AtomicUsize::new(0));
        join_all((0..50).map(|_| get(&cache, "[1, 2]", &loads))).await;
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_list_unused_for_longest_makes_room() {
        let (cache, loads) = (Cache::new(50), AtomicUsize::new(0));
        for text in ["[1]", "[2]", "[1]", "[3]", "[1]"] {
            get(&cache, text, &loads).await;
        }
        assert_eq!(loads.load(Ordering::SeqCst), 3);
        get(&cache, "[2]", &loads).await;
        assert_eq!(loads.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_list_over_the_limit_is_still_loaded_once() {
        let (cache, loads) = (Cache::new(1), AtomicUsize::new(0));
        get(&cache, "[1, 2, 3]", &loads).await;
        get(&cache, "[1, 2, 3]", &loads).await;
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_is_kept_is_found_until_others_need_the_room() {
        let cache = Cache::new(50);
        let digest = |text: &str| Digest::of(text.as_bytes());
        for text in ["[1]", "[2]", "[3]"] {
            cache.keep(digest(text), Arc::new(list(text)));
        }
        assert!(cache.find(digest("[1]")).is_none());
        assert!(cache.find(digest("[2]")).is_some());
        cache.keep(digest("[4]"), Arc::new(list("[4]")));
        assert!(cache.find(digest("[2]")).is_some() && cache.find(digest("[3]")).is_none(), "the one used last stays");
        cache.keep(digest("too large"), Arc::new(list("[1, 2, 3, 4]")));
        assert!(cache.find(digest("too large")).is_none() && cache.find(digest("[4]")).is_some());
        cache.clear();
        assert!(cache.find(digest("[4]")).is_none());
    }

    #[tokio::test]
    async fn a_load_that_failed_is_tried_again() {
        let cache = Cache::new(1);
        let content = Digest::of(b"x");
        let failed = cache.get(content, async || Err(ValueError::TooLarge { bytes_max: 1 })).await;
        assert!(failed.is_err());
        cache.get(content, async || Ok(list("[1]"))).await.unwrap();
    }
}
