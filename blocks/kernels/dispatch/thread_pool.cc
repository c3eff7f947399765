// A pool of threads that spin for a while before they sleep.
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

// How long a worker looks for work before it sleeps, in all, and how much of it without yielding the core to other
// threads. Where many virtual machines share a processor, one that sleeps between two kernels may wait long for its
// turn.
constexpr auto kSpinTime = std::chrono::microseconds(1000), kTimeBeforeYielding = std::chrono::microseconds(30);

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
  int open_slots;  // workers that may still join
  std::atomic<int64_t> next{0};

  void work() {
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) (*run)(task);
  }
};

// One for the process, never destroyed: its threads may outlive every static object.
class ThreadPool {
 public:
  // Returns false where another call has the pool.
  bool run(int workers, int64_t tasks, const std::function<void(int64_t)>& work) {
    std::unique_lock<std::mutex> ownership(busy_, std::try_to_lock);
    if (!ownership.owns_lock()) return false;
    start_workers(workers);
    Job job{tasks, &work, workers};
    {
      std::lock_guard<std::mutex> lock(state_);
      job_.store(&job);
      generation_.fetch_add(1);
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
  void start_workers(int count) {
    for (; num_workers_ < count; ++num_workers_) try {
        std::thread([this] { worker_loop(); }).detach();
      } catch (const std::system_error&) {
        return;  // the system has no more threads: those that there are do the work
      }
  }

  void worker_loop() {
    int64_t last_generation = 0;
    for (;;) {
      wait_for_generation_after(last_generation);
      last_generation = generation_.load();
      Job* job;
      {
        std::lock_guard<std::mutex> lock(state_);
        job = job_.load();
        if (!job || job->open_slots == 0) continue;
        --job->open_slots;
        active_.fetch_add(1);
      }
      job->work();
      active_.fetch_sub(1);
    }
  }

  void wait_for_generation_after(int64_t last) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::chrono::steady_clock::duration passed{}; passed < kSpinTime;
         passed = std::chrono::steady_clock::now() - begin) {
      if (passed > kTimeBeforeYielding) std::this_thread::yield();
      for (int i = 0; i < 32; ++i) {
        if (generation_.load() != last) return;
        pause();
      }
    }
    std::unique_lock<std::mutex> lock(state_);
    ++sleeping_;
    wake_.wait(lock, [&] { return generation_.load() != last; });
    --sleeping_;
  }

  std::mutex busy_, state_;
  std::condition_variable wake_;
  std::atomic<Job*> job_{nullptr};
  std::atomic<int64_t> generation_{0};  // of jobs
  std::atomic<int> active_{0};
  int num_workers_ = 0, sleeping_ = 0;
};

}  // namespace

bool try_parallel_for(int threads, int64_t tasks, const std::function<void(int64_t)>& run) {
  static ThreadPool* pool = new ThreadPool;
  return pool->run(int(std::min<int64_t>(threads, tasks)) - 1, tasks, run);
}

}  // namespace blocks
