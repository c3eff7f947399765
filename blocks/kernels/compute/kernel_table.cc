// The one symbol by which the rest of the library knows a level: blocks_kernels_avx2, say. It is data, so that no
// instruction of a level runs before the processor has been asked for it.
#include "kernel_table.h"

#include "simd.h"

#ifndef BLOCKS_LEVEL
#define BLOCKS_LEVEL native
#endif
#define BLOCKS_JOIN(A, B) A##B
#define BLOCKS_TABLE(LEVEL) BLOCKS_JOIN(blocks_kernels_, LEVEL)

namespace blocks {
namespace {

template <class T>
constexpr TypedKernels<T> typed_kernels() {
  return {moments<T>,
          affine<T>,
          norm_gradient<T>,
          affine_gradient<T>,
          layer_norm<T>,
          layer_norm_gradient<T>,
          activation<T>,
          activation_gradient<T>,
          bias_gradient<T>,
          depthwise<T>,
          depthwise_input_gradient<T>,
          depthwise_filter_gradient<T>,
          spatial<T>,
          spatial_input_gradient<T>,
          spatial_filter_gradient<T>,
          dense<T>,
          dense_input_gradient<T>,
          dense_filter_gradient<T>,
          pointwise<T>,
          pointwise_input_gradient<T>,
          pointwise_filter_gradient<T>,
          image_means<T>,
          add_image_means_gradient<T>,
          gate<T>,
          gate_gradient<T>,
          softmax_sum<T>,
          softmax_sum_gradient<T>,
          pool<T>,
          pool_gradient<T>,
          merge_paths<T>,
          merge_paths_gradient<T>,
          select_channels<T>,
          select_channels_gradient<T>};
}

}  // namespace

extern "C" {
extern const KernelTable BLOCKS_TABLE(BLOCKS_LEVEL);
constexpr KernelTable BLOCKS_TABLE(BLOCKS_LEVEL) = {kLanes,
                                                    typed_kernels<float>(),
                                                    typed_kernels<bf16>(),
                                                    resize,
                                                    subsample,
                                                    subsample_gradient,
                                                    shuffle,
                                                    unshuffle,
                                                    all_finite,
                                                    adam,
                                                    descend,
                                                    move_average};
}

}  // namespace blocks
