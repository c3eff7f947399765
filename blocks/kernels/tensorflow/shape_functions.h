// The shapes that graphs know of the operations' outputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/shape_inference.h"

#include "geometry.h"

namespace blocks {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Dimensions can only be read from shapes that have them: these checks come first.
inline absl::Status has_rank(InferenceContext* c, int input, int rank) {
  ShapeHandle shape;
  return c->WithRank(c->input(input), rank, &shape);
}

inline absl::Status has_axis(InferenceContext* c, int input) {
  ShapeHandle shape;
  return c->WithRankAtLeast(c->input(input), 1, &shape);
}

// Steps between windows, by which sizes are divided.
inline absl::Status strides_of(InferenceContext* c, std::vector<int32_t>* strides) {
  TF_RETURN_IF_ERROR(c->GetAttr("strides", strides));
  if (strides->size() == 2 && (*strides)[0] > 0 && (*strides)[1] > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("strides are (height, width), and positive");
}

inline absl::Status explicit_padding_of(InferenceContext* c, std::vector<int32_t>* explicit_padding) {
  TF_RETURN_IF_ERROR(c->GetAttr("explicit_padding", explicit_padding));
  if (explicit_padding->size() == 4) return absl::OkStatus();
  return absl::InvalidArgumentError("explicit_padding is (top, bottom, left, right)");
}

inline absl::Status like_first(InferenceContext* c) {
  c->set_output(0, c->input(0));
  return absl::OkStatus();
}

inline absl::Status like_second(InferenceContext* c) {
  c->set_output(0, c->input(1));
  return absl::OkStatus();
}

// (count, count, channels) of an image and its lines; the lines are values, which are not known here.
inline absl::Status resize_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 0, 3));
  c->set_output(0, c->MakeShape({c->UnknownDim(), c->UnknownDim(), c->Dim(c->input(0), 2)}));
  return absl::OkStatus();
}

inline absl::Status image_means_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 0, 4));
  c->set_output(0, c->MakeShape({c->Dim(c->input(0), 0), c->MakeDim(1), c->MakeDim(1), c->Dim(c->input(0), 3)}));
  c->set_output(1, c->input(0));
  return absl::OkStatus();
}

inline absl::Status gate_gradient_shape(InferenceContext* c) {
  c->set_output(1, c->input(2));
  return like_first(c);
}

inline absl::Status like_both(InferenceContext* c) {
  c->set_output(1, c->input(1));
  return like_first(c);
}

inline absl::Status norm_shape(InferenceContext* c) {
  for (int i = 1; i < 5; ++i) c->set_output(i, c->input(1));
  return like_first(c);
}

inline absl::Status norm_gradient_shape(InferenceContext* c) {
  bool residual;
  TF_RETURN_IF_ERROR(c->GetAttr("residual", &residual));
  c->set_output(1, c->input(2));
  c->set_output(2, c->input(2));
  c->set_output(3, residual ? c->input(1) : c->Vector(0));
  return like_first(c);
}

inline absl::Status layer_norm_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  ShapeHandle rows;
  TF_RETURN_IF_ERROR(c->Subshape(c->input(0), 0, -1, &rows));
  for (int i = 1; i < 3; ++i) c->set_output(i, rows);
  return like_first(c);
}

inline absl::Status layer_norm_gradient_shape(InferenceContext* c) {
  for (int i = 1; i < 3; ++i) c->set_output(i, c->input(2));
  return like_first(c);
}

inline absl::Status bias_gradient_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  c->set_output(0, c->Vector(c->Dim(c->input(0), -1)));
  return absl::OkStatus();
}

inline absl::Status spatial_shape(InferenceContext* c) {
  std::vector<int32_t> strides, explicit_padding;
  TF_RETURN_IF_ERROR(strides_of(c, &strides));
  TF_RETURN_IF_ERROR(explicit_padding_of(c, &explicit_padding));
  TF_RETURN_IF_ERROR(has_rank(c, 0, 4));
  TF_RETURN_IF_ERROR(has_rank(c, 1, 4));
  DimensionHandle sizes[2];
  for (int axis = 0; axis < 2; ++axis) {
    const DimensionHandle size = c->Dim(c->input(0), axis + 1), taps = c->Dim(c->input(1), axis);
    sizes[axis] = c->UnknownDim();
    if (!c->ValueKnown(size) || !c->ValueKnown(taps)) continue;
    int64_t count;
    TF_RETURN_IF_ERROR(windows_along("kernel", c->Value(size), explicit_padding[axis * 2],
                                     explicit_padding[axis * 2 + 1], c->Value(taps), strides[axis], &count));
    sizes[axis] = c->MakeDim(count);
  }
  c->set_output(0, c->MakeShape({c->Dim(c->input(0), 0), sizes[0], sizes[1], c->Dim(c->input(1), 3)}));
  return absl::OkStatus();
}

// The output's shape is the value of the last input.
inline absl::Status from_shape_input(InferenceContext* c) {
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(c->num_inputs() - 1, &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

inline absl::Status last_axis(InferenceContext* c, DimensionHandle channels) {
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), -1, channels, &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

// A dynamic batch stays one; one of 0 becomes 1, and the result of one image may be that of none.
inline absl::Status at_least_one_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  c->set_output(1, c->Scalar());
  if (!c->RankKnown(c->input(0)) || !c->ValueKnown(c->Dim(c->input(0), 0))) return like_first(c);
  ShapeHandle shape;
  const int64_t batch = std::max<int64_t>(1, c->Value(c->Dim(c->input(0), 0)));
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), 0, c->MakeDim(batch), &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

inline absl::Status first_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  if (!c->RankKnown(c->input(0)) || c->Value(c->Dim(c->input(0), 0)) != 1) return like_first(c);
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), 0, c->UnknownDim(), &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

inline absl::Status pointwise_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 1, 4));
  return last_axis(c, c->Dim(c->input(1), 3));
}

inline absl::Status pointwise_input_gradient_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 1, 4));
  int64_t groups;
  TF_RETURN_IF_ERROR(c->GetAttr("groups", &groups));
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(c->Multiply(c->Dim(c->input(1), 2), groups, &channels));
  return last_axis(c, channels);
}

inline absl::Status pointwise_filter_gradient_shape(InferenceContext* c) {
  for (int i = 0; i < 2; ++i) TF_RETURN_IF_ERROR(has_axis(c, i));
  int64_t groups;
  TF_RETURN_IF_ERROR(c->GetAttr("groups", &groups));
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(c->Divide(c->Dim(c->input(0), -1), groups, true, &channels));
  c->set_output(0, c->MakeShape({c->MakeDim(1), c->MakeDim(1), channels, c->Dim(c->input(1), -1)}));
  return absl::OkStatus();
}

inline absl::Status subsample_shape(InferenceContext* c) {
  std::vector<int32_t> strides;
  TF_RETURN_IF_ERROR(strides_of(c, &strides));
  TF_RETURN_IF_ERROR(has_rank(c, 0, 4));
  std::vector<DimensionHandle> sizes(4);
  for (int axis = 0; axis < 4; ++axis) sizes[axis] = c->Dim(c->input(0), axis);
  for (int axis = 0; axis < 2; ++axis)
    if (c->ValueKnown(sizes[axis + 1]))
      sizes[axis + 1] = c->MakeDim((c->Value(sizes[axis + 1]) + strides[axis] - 1) / strides[axis]);
  c->set_output(0, c->MakeShape(sizes));
  return absl::OkStatus();
}

inline absl::Status pool_shape(InferenceContext* c) {
  bool average;
  std::vector<int32_t> window, strides, explicit_padding;
  TF_RETURN_IF_ERROR(c->GetAttr("average", &average));
  TF_RETURN_IF_ERROR(c->GetAttr("window", &window));
  if (window.size() != 2) return absl::InvalidArgumentError("windows are (height, width)");
  TF_RETURN_IF_ERROR(strides_of(c, &strides));
  TF_RETURN_IF_ERROR(explicit_padding_of(c, &explicit_padding));
  TF_RETURN_IF_ERROR(has_rank(c, 0, 4));
  std::vector<DimensionHandle> sizes(4);
  for (int axis = 0; axis < 4; ++axis) sizes[axis] = c->Dim(c->input(0), axis);
  for (int axis = 0; axis < 2; ++axis) {
    if (!c->ValueKnown(sizes[axis + 1])) continue;
    int64_t count;
    TF_RETURN_IF_ERROR(windows_along("window", c->Value(sizes[axis + 1]), explicit_padding[axis * 2],
                                     explicit_padding[axis * 2 + 1], window[axis], strides[axis], &count));
    sizes[axis + 1] = c->MakeDim(count);
  }
  c->set_output(0, c->MakeShape(sizes));
  if (c->num_outputs() > 1) c->set_output(1, average ? c->Vector(0) : c->output(0));
  return absl::OkStatus();
}

inline absl::Status shuffle_shape(InferenceContext* c) {
  DimensionHandle channels = c->MakeDim(int64_t{0});
  for (int i = 0; i < c->num_inputs(); ++i) TF_RETURN_IF_ERROR(has_axis(c, i));
  for (int i = 0; i < c->num_inputs(); ++i) TF_RETURN_IF_ERROR(c->Add(channels, c->Dim(c->input(i), -1), &channels));
  TF_RETURN_IF_ERROR(c->Divide(channels, int64_t{c->num_outputs()}, true, &channels));
  for (int i = c->num_outputs() - 1; i > 0; --i) {
    TF_RETURN_IF_ERROR(last_axis(c, channels));
    c->set_output(i, c->output(0));
  }
  return last_axis(c, channels);
}

inline absl::Status unshuffle_shape(InferenceContext* c) {
  std::vector<int32_t> sizes;
  TF_RETURN_IF_ERROR(c->GetAttr("sizes", &sizes));
  if (int(sizes.size()) != c->num_outputs()) return absl::InvalidArgumentError("as many sizes as parts");
  for (int i = 0; i < c->num_outputs(); ++i) {
    ShapeHandle shape;
    if (sizes[i] <= 0) return absl::InvalidArgumentError(absl::StrCat("sizes of parts are positive, got ", sizes[i]));
    TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), -1, c->MakeDim(sizes[i]), &shape));
    c->set_output(i, shape);
  }
  return absl::OkStatus();
}

inline absl::Status merge_paths_shape(InferenceContext* c) {
  int residual = 0;
  TF_RETURN_IF_ERROR(c->GetAttr("residual", &residual));
  DimensionHandle channels = c->MakeDim(int64_t{0});
  for (int i = 0; i < c->num_inputs(); ++i) {
    TF_RETURN_IF_ERROR(has_axis(c, i));
    TF_RETURN_IF_ERROR(c->Add(channels, c->Dim(c->input(i), -1), &channels));
  }
  TF_RETURN_IF_ERROR(c->Subtract(channels, int64_t{residual}, &channels));
  return last_axis(c, channels);
}

inline absl::Status merge_paths_gradient_shape(InferenceContext* c) {
  int residual = 0, growth = 0;
  TF_RETURN_IF_ERROR(c->GetAttr("residual", &residual));
  TF_RETURN_IF_ERROR(c->GetAttr("growth", &growth));
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(c->Subtract(c->Dim(c->input(0), -1), int64_t{growth}, &channels));
  const int parts = c->num_outputs() - 1;
  for (int i = 0; i < parts; ++i) {
    const int64_t size = int64_t{parts == 1 || i == 0 ? residual : 0} + (parts == 1 || i == 1 ? growth : 0);
    if (size < 0) return absl::InvalidArgumentError(absl::StrCat("a number of channels, got ", size));
    ShapeHandle part;
    TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), -1, c->MakeDim(size), &part));
    c->set_output(i + 1, part);
  }
  return last_axis(c, channels);
}

// Candidates, one tensor or as many as the radix, and their logits.
inline absl::Status softmax_sum_shape(InferenceContext* c) {
  int radix = 0;
  TF_RETURN_IF_ERROR(c->GetAttr("radix", &radix));
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  DimensionHandle channels = c->Dim(c->input(0), -1);
  if (c->num_inputs() == 2) TF_RETURN_IF_ERROR(c->Divide(channels, int64_t{radix}, true, &channels));
  return last_axis(c, channels);
}

inline absl::Status like_all_but_first(InferenceContext* c) {
  for (int i = 0; i < c->num_outputs(); ++i) c->set_output(i, c->input(i + 1));
  return absl::OkStatus();
}

inline absl::Status select_shape(InferenceContext* c) {
  ShapeHandle shape, index;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &index));
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), -1, c->Dim(index, 0), &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

}  // namespace blocks
