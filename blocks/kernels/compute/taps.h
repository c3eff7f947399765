// Rows of kernels whose taps and stride the compiler knows, so that it unrolls the loops over them.
#pragma once

namespace blocks {

template <int Count, int Stride>
struct Taps {
  static constexpr int count = Count, stride = Stride;
};

template <class... Each>
struct TapsList {};

// Calls `known` with the one of the list that has `count` taps and this stride; `other` where the list has none.
template <class... Each, class Known, class Other>
inline void with_taps(TapsList<Each...>, int count, int stride, Known known, Other other) {
  const bool done = ((count == Each::count && stride == Each::stride && (known(Each()), true)) || ...);
  if (!done) other();
}

}  // namespace blocks
