// Memory of each thread for what a kernel packs and stages.
#include <cstdint>
#include <vector>

#include "simd.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace blocks {
namespace {

// For a sanitizer: what lies behind the floats that were asked for is not to be touched, though a buffer may be longer.
void poison([[maybe_unused]] const std::vector<float>& buffer, [[maybe_unused]] const float* end) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(end, (buffer.data() + buffer.size() - end) * sizeof(float));
#endif
}

void unpoison([[maybe_unused]] const std::vector<float>& buffer) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(buffer.data(), buffer.size() * sizeof(float));
#endif
}

}  // namespace

float* scratch(int slot, int64_t floats) {
  static thread_local std::vector<float> buffers[kShared + 1];
  auto& buffer = buffers[slot];
  unpoison(buffer);
  if (int64_t(buffer.size()) < floats + kLanes) buffer.resize(floats + kLanes);
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  auto* aligned = reinterpret_cast<float*>((address + sizeof(Vec) - 1) / sizeof(Vec) * sizeof(Vec));
  poison(buffer, aligned + floats);
  return aligned;
}

}  // namespace blocks
