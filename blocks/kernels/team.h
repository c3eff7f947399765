// Threads that wait for the next kernel's work without going to sleep at once.
#pragma once

#include <cstdint>
#include <functional>

namespace blocks {

// Runs `run` for each of `tasks` numbers on the calling thread and up to `helpers` others.
//
// Waking a sleeping thread takes longer than many a layer, and in a network one kernel follows the next. So a helper
// that has found nothing to do looks for a while before it sleeps. One call at a time has helpers; others, made at the
// same time, do their work alone. The caller never waits for a helper that has not begun.
void run_in_team(int helpers, int64_t tasks, const std::function<void(int64_t)>& run);

}  // namespace blocks
