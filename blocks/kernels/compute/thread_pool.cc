// Threads that wait for the next kernel's work without going to sleep at once.
#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace blocks {
namespace {

// How long a helper looks for work before it sleeps: first without a break, then letting other threads go first. Where
// many virtual machines share a processor, one that sleeps between two kernels may wait long for its turn.
constexpr auto kEager = std::chrono::microseconds(30), kPatient = std::chrono::microseconds(1000);

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct Job {
  int64_t tasks;
  const std::function<void(int64_t)>* run;
  int places;                     // helpers that may still join
  std::atomic<int64_t> next{0};

  void work() {
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) (*run)(task);
  }
};

// One for the process, never destroyed: its threads may outlive every static object.
class Team {
 public:
  // Returns false where another call has the team.
  bool run(int helpers, int64_t tasks, const std::function<void(int64_t)>& work) {
    std::unique_lock<std::mutex> mine(busy_, std::try_to_lock);
    if (!mine.owns_lock()) return false;
    for (; hired_ < helpers; ++hired_) try {
        std::thread([this] { help(); }).detach();
      } catch (const std::system_error&) {
        break;  // the system has no more threads: those that there are do the work
      }
    Job job{tasks, &work, helpers};
    {
      std::lock_guard<std::mutex> lock(state_);
      job_.store(&job);
      round_.fetch_add(1);
      if (sleeping_ > 0) wake_.notify_all();
    }
    job.work();
    {
      std::lock_guard<std::mutex> lock(state_);
      job_.store(nullptr);  // nobody joins from here on
    }
    while (active_.load() > 0) pause();
    return true;
  }

 private:
  void help() {
    int64_t seen = 0;
    for (;;) {
      await(seen);
      seen = round_.load();
      Job* job;
      {
        std::lock_guard<std::mutex> lock(state_);
        job = job_.load();
        if (!job || job->places == 0) continue;
        --job->places;
        active_.fetch_add(1);
      }
      job->work();
      active_.fetch_sub(1);
    }
  }

  // Until a round after `seen` has begun.
  void await(int64_t seen) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::chrono::steady_clock::duration passed{}; passed < kPatient;
         passed = std::chrono::steady_clock::now() - begin) {
      if (passed > kEager) std::this_thread::yield();
      for (int i = 0; i < 32; ++i) {
        if (round_.load() != seen) return;
        pause();
      }
    }
    std::unique_lock<std::mutex> lock(state_);
    ++sleeping_;
    wake_.wait(lock, [&] { return round_.load() != seen; });
    --sleeping_;
  }

  std::mutex busy_, state_;
  std::condition_variable wake_;
  std::atomic<Job*> job_{nullptr};
  std::atomic<int64_t> round_{0};
  std::atomic<int> active_{0};
  int hired_ = 0, sleeping_ = 0;
};

}  // namespace

bool run_in_team(int threads, int64_t tasks, const std::function<void(int64_t)>& run) {
  static Team* team = new Team;
  return team->run(int(std::min<int64_t>(threads, tasks)) - 1, tasks, run);
}

}  // namespace blocks
