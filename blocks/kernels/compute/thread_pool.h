// Threads that wait for the next kernel's work without going to sleep at once.
#pragma once

#include <cstdint>
#include <functional>

namespace blocks {

// Runs `run` for each of `tasks` numbers on the calling thread and, up to `threads` in all, on others.
//
// Waking a sleeping thread takes longer than many a layer, and in a network one kernel follows the next. So a helper
// that has found nothing to do looks for a while before it sleeps. The result is false, and nothing has been run,
// where another call has the helpers. The caller never waits for a helper that has not begun.
bool run_in_team(int threads, int64_t tasks, const std::function<void(int64_t)>& run);

}  // namespace blocks
