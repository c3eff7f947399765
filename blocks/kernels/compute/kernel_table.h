// The kernels as pointers: what one level offers, that is, all of compute/ compiled for one set of instructions.
#pragma once

#include "kernels.h"

namespace blocks {

// Those that are there for images of type T.
template <class T>
struct TypedKernels {
  decltype(&blocks::moments<T>) moments;
  decltype(&blocks::affine<T>) affine;
  decltype(&blocks::norm_gradient<T>) norm_gradient;
  decltype(&blocks::affine_gradient<T>) affine_gradient;
  decltype(&blocks::layer_norm<T>) layer_norm;
  decltype(&blocks::layer_norm_gradient<T>) layer_norm_gradient;
  decltype(&blocks::activation<T>) activation;
  decltype(&blocks::activation_gradient<T>) activation_gradient;
  decltype(&blocks::bias_gradient<T>) bias_gradient;
  decltype(&blocks::depthwise<T>) depthwise;
  decltype(&blocks::depthwise_input_gradient<T>) depthwise_input_gradient;
  decltype(&blocks::depthwise_filter_gradient<T>) depthwise_filter_gradient;
  decltype(&blocks::spatial<T>) spatial;
  decltype(&blocks::spatial_input_gradient<T>) spatial_input_gradient;
  decltype(&blocks::spatial_filter_gradient<T>) spatial_filter_gradient;
  decltype(&blocks::dense<T>) dense;
  decltype(&blocks::dense_input_gradient<T>) dense_input_gradient;
  decltype(&blocks::dense_filter_gradient<T>) dense_filter_gradient;
  decltype(&blocks::pointwise<T>) pointwise;
  decltype(&blocks::pointwise_input_gradient<T>) pointwise_input_gradient;
  decltype(&blocks::pointwise_filter_gradient<T>) pointwise_filter_gradient;
  decltype(&blocks::image_means<T>) image_means;
  decltype(&blocks::add_image_means_gradient<T>) add_image_means_gradient;
  decltype(&blocks::gate<T>) gate;
  decltype(&blocks::gate_gradient<T>) gate_gradient;
  decltype(&blocks::softmax_sum<T>) softmax_sum;
  decltype(&blocks::softmax_sum_gradient<T>) softmax_sum_gradient;
  decltype(&blocks::pool<T>) pool;
  decltype(&blocks::pool_gradient<T>) pool_gradient;
  decltype(&blocks::merge_paths<T>) merge_paths;
  decltype(&blocks::merge_paths_gradient<T>) merge_paths_gradient;
  decltype(&blocks::select_channels<T>) select_channels;
  decltype(&blocks::select_channels_gradient<T>) select_channels_gradient;
};

struct KernelTable {
  int min_channels;  // the fewest that the kernels of depthwise.cc, excitation.cc and pooling.cc take: one vector
  TypedKernels<float> float_kernels;
  TypedKernels<bf16> bf16_kernels;
  decltype(&blocks::resize) resize;
  decltype(&blocks::subsample) subsample;
  decltype(&blocks::subsample_gradient) subsample_gradient;
  decltype(&blocks::shuffle) shuffle;
  decltype(&blocks::unshuffle) unshuffle;
  decltype(&blocks::all_finite) all_finite;
  decltype(&blocks::adam) adam;
  decltype(&blocks::descend) descend;
  decltype(&blocks::move_average) move_average;
};

}  // namespace blocks
