//! Work that recurses as deep as somebody's text says, on a stack that no allowed text exhausts.

/// Only what is used of it becomes memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// Runs `work` on a thread of its own. None: it panicked, or there is no thread to be had; the
/// libraries that read other people's texts are not ours.
pub fn on_a_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("compiler".to_owned());
        thread.stack_size(STACK_BYTES).spawn_scoped(scope, work).ok()?.join().ok()
    })
}
