// A pool of threads that spin for a while before they sleep.
#pragma once

#include <cstdint>
#include <functional>

namespace blocks {

// Runs `run` for each of `tasks` numbers on the calling thread and, up to `threads` in all, on the pool's workers.
//
// Waking a sleeping thread takes longer than many a layer, and in a network one kernel follows the next. So a worker
// without work spins for a while before it sleeps. The result is false, and nothing has been run, where another call
// has the workers. The caller never waits for a worker that has not begun.
bool try_parallel_for(int threads, int64_t tasks, const std::function<void(int64_t)>& run);

}  // namespace blocks
