// Sums over the columns of matrices of any width, in tasks of rows.
#pragma once

#include <algorithm>
#include <vector>

#include "row_tasks.h"
#include "simd.h"

namespace blocks {

// How many entries vector v of a row has: the last one may be shorter.
inline int lanes_of(int vector, int channels) { return std::min(kLanes, channels - vector * kLanes); }

template <class T>
Vec load_lanes(const T* from, int lanes) {
  return lanes == kLanes ? load(from) : load_tail(from, lanes);
}

template <class T>
void store_lanes(T* to, Vec value, int lanes) {
  if (lanes == kLanes) store(to, value);
  else store_tail(to, value, lanes);
}

inline float sum_of(Vec value) {
  float sum = 0.0f;
  for (int i = 0; i < kLanes; ++i) sum += value[i];
  return sum;
}

// N sums for each column, one behind the other: `add(row, accumulators)` adds a row's terms, those of vector v of sum i
// at accumulators + (v * N + i) * kLanes. They are floats for so many rows, then doubles.
template <int N, class Add>
std::vector<double> column_sums(int64_t rows, int channels, const Parallel& parallel, Add add) {
  constexpr int64_t kBlock = 128;
  const RowTasks tasks(rows, channels, parallel);
  const int64_t size = int64_t(num_vectors(channels)) * kLanes * N;
  std::vector<double> parts(tasks.count * N * channels, 0.0), sums(N * channels, 0.0);
  parallel.run(tasks.count, [&](int64_t task) {
    double* part = parts.data() + task * N * channels;
    float* accumulators = scratch(0, size);
    for (int64_t begin = tasks.begin(task); begin < tasks.end(task); begin += kBlock) {
      std::fill_n(accumulators, size, 0.0f);
      for (int64_t row = begin; row < std::min(tasks.end(task), begin + kBlock); ++row) add(row, accumulators);
      for (int i = 0; i < N; ++i)
        for (int c = 0; c < channels; ++c)
          part[i * channels + c] += accumulators[(c / kLanes * N + i) * kLanes + c % kLanes];
    }
  });
  for (int64_t task = 0; task < tasks.count; ++task)
    for (int i = 0; i < N * channels; ++i) sums[i] += parts[task * N * channels + i];
  return sums;
}

}  // namespace blocks
