// The operations as graphs see them: names, attributes, shapes.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

#include "geometry.h"

namespace blocks {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

constexpr char kActivations[] = "activation: {'', 'relu', 'relu6', 'hard_silu', 'silu', 'gelu'} = ''";

// Dimensions can only be read from shapes that have them: these checks come first.
absl::Status has_rank(InferenceContext* c, int input, int rank) {
  ShapeHandle shape;
  return c->WithRank(c->input(input), rank, &shape);
}

absl::Status has_axis(InferenceContext* c, int input) {
  ShapeHandle shape;
  return c->WithRankAtLeast(c->input(input), 1, &shape);
}

// Steps between windows, by which sizes are divided.
absl::Status strides_of(InferenceContext* c, std::vector<int32_t>* strides) {
  TF_RETURN_IF_ERROR(c->GetAttr("strides", strides));
  if (strides->size() == 2 && (*strides)[0] > 0 && (*strides)[1] > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("strides are (height, width), and positive");
}

absl::Status explicit_padding_of(InferenceContext* c, std::vector<int32_t>* explicit_padding) {
  TF_RETURN_IF_ERROR(c->GetAttr("explicit_padding", explicit_padding));
  if (explicit_padding->size() == 4) return absl::OkStatus();
  return absl::InvalidArgumentError("explicit_padding is (top, bottom, left, right)");
}

absl::Status like_first(InferenceContext* c) {
  c->set_output(0, c->input(0));
  return absl::OkStatus();
}

absl::Status like_second(InferenceContext* c) {
  c->set_output(0, c->input(1));
  return absl::OkStatus();
}

// (count, count, channels) of an image and its lines; the lines are values, which are not known here.
absl::Status resize_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 0, 3));
  c->set_output(0, c->MakeShape({c->UnknownDim(), c->UnknownDim(), c->Dim(c->input(0), 2)}));
  return absl::OkStatus();
}

absl::Status image_means_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 0, 4));
  c->set_output(0, c->MakeShape({c->Dim(c->input(0), 0), c->MakeDim(1), c->MakeDim(1), c->Dim(c->input(0), 3)}));
  c->set_output(1, c->input(0));
  return absl::OkStatus();
}

absl::Status gate_gradient_shape(InferenceContext* c) {
  c->set_output(1, c->input(2));
  return like_first(c);
}

absl::Status like_both(InferenceContext* c) {
  c->set_output(1, c->input(1));
  return like_first(c);
}

absl::Status norm_shape(InferenceContext* c) {
  for (int i = 1; i < 5; ++i) c->set_output(i, c->input(1));
  return like_first(c);
}

absl::Status norm_gradient_shape(InferenceContext* c) {
  bool residual;
  TF_RETURN_IF_ERROR(c->GetAttr("residual", &residual));
  c->set_output(1, c->input(2));
  c->set_output(2, c->input(2));
  c->set_output(3, residual ? c->input(1) : c->Vector(0));
  return like_first(c);
}

absl::Status layer_norm_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  ShapeHandle rows;
  TF_RETURN_IF_ERROR(c->Subshape(c->input(0), 0, -1, &rows));
  for (int i = 1; i < 3; ++i) c->set_output(i, rows);
  return like_first(c);
}

absl::Status layer_norm_gradient_shape(InferenceContext* c) {
  for (int i = 1; i < 3; ++i) c->set_output(i, c->input(2));
  return like_first(c);
}

absl::Status bias_gradient_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  c->set_output(0, c->Vector(c->Dim(c->input(0), -1)));
  return absl::OkStatus();
}

absl::Status spatial_shape(InferenceContext* c) {
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
absl::Status from_shape_input(InferenceContext* c) {
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(c->num_inputs() - 1, &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

absl::Status last_axis(InferenceContext* c, DimensionHandle channels) {
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), -1, channels, &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

// A dynamic batch stays one; one of 0 becomes 1, and the result of one image may be that of none.
absl::Status at_least_one_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  c->set_output(1, c->Scalar());
  if (!c->RankKnown(c->input(0)) || !c->ValueKnown(c->Dim(c->input(0), 0))) return like_first(c);
  ShapeHandle shape;
  const int64_t batch = std::max<int64_t>(1, c->Value(c->Dim(c->input(0), 0)));
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), 0, c->MakeDim(batch), &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

absl::Status first_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  if (!c->RankKnown(c->input(0)) || c->Value(c->Dim(c->input(0), 0)) != 1) return like_first(c);
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), 0, c->UnknownDim(), &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

absl::Status pointwise_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 1, 4));
  return last_axis(c, c->Dim(c->input(1), 3));
}

absl::Status pointwise_input_gradient_shape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(has_rank(c, 1, 4));
  int64_t groups;
  TF_RETURN_IF_ERROR(c->GetAttr("groups", &groups));
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(c->Multiply(c->Dim(c->input(1), 2), groups, &channels));
  return last_axis(c, channels);
}

absl::Status pointwise_filter_gradient_shape(InferenceContext* c) {
  for (int i = 0; i < 2; ++i) TF_RETURN_IF_ERROR(has_axis(c, i));
  int64_t groups;
  TF_RETURN_IF_ERROR(c->GetAttr("groups", &groups));
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(c->Divide(c->Dim(c->input(0), -1), groups, true, &channels));
  c->set_output(0, c->MakeShape({c->MakeDim(1), c->MakeDim(1), channels, c->Dim(c->input(1), -1)}));
  return absl::OkStatus();
}

absl::Status subsample_shape(InferenceContext* c) {
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

absl::Status pool_shape(InferenceContext* c) {
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

absl::Status shuffle_shape(InferenceContext* c) {
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

absl::Status unshuffle_shape(InferenceContext* c) {
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

absl::Status merge_paths_shape(InferenceContext* c) {
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

absl::Status merge_paths_gradient_shape(InferenceContext* c) {
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
absl::Status softmax_sum_shape(InferenceContext* c) {
  int radix = 0;
  TF_RETURN_IF_ERROR(c->GetAttr("radix", &radix));
  TF_RETURN_IF_ERROR(has_axis(c, 0));
  DimensionHandle channels = c->Dim(c->input(0), -1);
  if (c->num_inputs() == 2) TF_RETURN_IF_ERROR(c->Divide(channels, int64_t{radix}, true, &channels));
  return last_axis(c, channels);
}

absl::Status like_all_but_first(InferenceContext* c) {
  for (int i = 0; i < c->num_outputs(); ++i) c->set_output(i, c->input(i + 1));
  return absl::OkStatus();
}

absl::Status select_shape(InferenceContext* c) {
  ShapeHandle shape, index;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &index));
  TF_RETURN_IF_ERROR(c->ReplaceDim(c->input(0), -1, c->Dim(index, 0), &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

// clang-format off: an operation's attributes, inputs and outputs, several on a line
constexpr char kTypes[] = "T: {float, bfloat16}";

#define BLOCKS_SPATIAL(NAME) \
  REGISTER_OP(NAME).Attr(kTypes).Attr("strides: list(int) >= 2").Attr("explicit_padding: list(int) >= 4")

REGISTER_OP("BlocksSubsample").Attr(kTypes).Attr("strides: list(int) >= 2").Input("x: T").Output("y: T")
    .SetShapeFn(subsample_shape);
REGISTER_OP("BlocksSubsampleGrad").Attr(kTypes).Attr("strides: list(int) >= 2").Input("dy: T").Input("shape: int32")
    .Output("dx: T").SetShapeFn(from_shape_input);
REGISTER_OP("BlocksShuffle").Attr(kTypes).Attr("N: int >= 1").Attr("M: int >= 1").Attr("groups: int")
    .Input("parts: N * T").Output("pieces: M * T").SetShapeFn(shuffle_shape);
REGISTER_OP("BlocksUnshuffle").Attr(kTypes).Attr("N: int >= 1").Attr("M: int >= 1").Attr("groups: int")
    .Attr("sizes: list(int)").Input("pieces: M * T").Output("parts: N * T").SetShapeFn(unshuffle_shape);
REGISTER_OP("BlocksSelect").Attr(kTypes).Input("x: T").Input("index: int64").Output("y: T").SetShapeFn(select_shape);
REGISTER_OP("BlocksSelectGrad").Attr(kTypes).Input("dy: T").Input("index: int64").Input("shape: int32").Output("dx: T")
    .SetShapeFn(from_shape_input);
REGISTER_OP("BlocksMergePaths").Attr(kTypes).Attr("N: int >= 1").Attr("residual: int").Input("paths: T")
    .Input("update: N * T").Output("y: T").SetShapeFn(merge_paths_shape);
REGISTER_OP("BlocksMergePathsGrad").Attr(kTypes).Attr("N: int >= 1").Attr("residual: int").Attr("growth: int")
    .Input("dy: T").Output("d_paths: T").Output("d_update: N * T").SetShapeFn(merge_paths_gradient_shape);
#define BLOCKS_POOL(NAME) BLOCKS_SPATIAL(NAME).Attr("average: bool").Attr("window: list(int) >= 2")

BLOCKS_POOL("BlocksPool").Input("x: T").Output("y: T").Output("argmax: uint8").SetShapeFn(pool_shape);
BLOCKS_POOL("BlocksPoolGather").Input("x: T").Input("argmax: uint8").Output("y: T").SetShapeFn(pool_shape);
BLOCKS_POOL("BlocksPoolGrad").Input("dy: T").Input("argmax: uint8").Input("shape: int32").Output("dx: T")
    .SetShapeFn(from_shape_input);
REGISTER_OP("BlocksImageMeans").Attr(kTypes).Input("x: T").Output("means: T").Output("x_too: T")
    .SetShapeFn(image_means_shape);
REGISTER_OP("BlocksImageMeansGrad").Attr(kTypes).Input("d_means: T").Input("d_x_too: T").Output("dx: T")
    .SetShapeFn(like_second);
REGISTER_OP("BlocksGate").Attr(kTypes).Input("x: T").Input("gates: T").Output("y: T").SetShapeFn(like_first);
REGISTER_OP("BlocksGateGrad").Attr(kTypes).Input("dy: T").Input("x: T").Input("gates: T").Output("dx: T")
    .Output("d_gates: T").SetShapeFn(gate_gradient_shape);
REGISTER_OP("BlocksSoftmaxSum").Attr(kTypes).Attr("N: int >= 1").Attr("radix: int >= 1").Input("candidates: N * T")
    .Input("logits: T").Output("y: T").SetShapeFn(softmax_sum_shape);
REGISTER_OP("BlocksSoftmaxSumGrad").Attr(kTypes).Attr("N: int >= 1").Attr("radix: int >= 1").Input("dy: T")
    .Input("candidates: N * T").Input("logits: T").Output("d_candidates: N * T").Output("d_logits: T")
    .SetShapeFn(like_all_but_first);
REGISTER_OP("BlocksResize").Attr("filter: {'bilinear', 'bicubic'}").Input("image: uint8").Input("rows: int32")
    .Input("columns: int32").Output("resized: uint8").SetShapeFn(resize_shape);
REGISTER_OP("BlocksTogether").Attr(kTypes).Input("dx: T").Input("d_kernel: float").Output("dx_too: T")
    .Output("d_kernel_too: float").SetShapeFn(like_both);
REGISTER_OP("BlocksAtLeastOne").Attr("T: {half, bfloat16, float, double}").Input("x: T").Output("y: T")
    .Output("count: int64").SetShapeFn(at_least_one_shape);
REGISTER_OP("BlocksFirst").Attr("T: {half, bfloat16, float, double}").Input("x: T").Input("count: int64")
    .Output("y: T").SetShapeFn(first_shape);
REGISTER_OP("BlocksAllFinite").Attr("N: int >= 1").Input("tensors: N * float").Output("finite: bool")
    .SetShapeFn(tensorflow::shape_inference::ScalarShape);
REGISTER_OP("BlocksAdamUpdate").Attr("N: int >= 1").Attr("rate_factors: list(float)").Attr("decays: list(float)")
    .Attr("beta_1: float").Attr("beta_2: float").Input("apply: bool").Input("rate: float").Input("beta_1_power: float")
    .Input("beta_2_power: float").Input("epsilon: float").Input("variables: N * resource").Input("first: N * resource")
    .Input("second: N * resource").Input("gradients: N * float").SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);
REGISTER_OP("BlocksMomentumUpdate").Attr("N: int >= 1").Attr("rate_factors: list(float)").Attr("decays: list(float)")
    .Attr("momentum: float").Attr("nesterov: bool").Attr("rate_in_momentum: bool").Attr("coupled: bool")
    .Input("apply: bool").Input("rate: float").Input("variables: N * resource").Input("accumulators: N * resource")
    .Input("gradients: N * float").SetIsStateful().SetShapeFn(tensorflow::shape_inference::NoOutputs);
REGISTER_OP("BlocksMoveAverages").Attr("N: int >= 1").Input("apply: bool").Input("share: float")
    .Input("averages: N * resource").Input("values: N * float").SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);
REGISTER_OP("BlocksAssignIf").Attr("N: int >= 1").Attr("types: list(type)").Input("assign: bool")
    .Input("variables: N * resource").Input("values: types").SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs);
REGISTER_OP("BlocksMinChannels").Output("channels: int32").SetShapeFn(tensorflow::shape_inference::ScalarShape);
REGISTER_OP("BlocksNormTrain").Attr(kTypes).Attr("N: int >= 0").Attr("epsilon: float").Attr("rate: float").Attr(kActivations)
    .Input("x: T").Input("gamma: float").Input("beta: float").Input("running_mean: float")
    .Input("running_variance: float").Input("residual: N * T")
    .Output("y: T").Output("moved_mean: float").Output("moved_variance: float").Output("mean: float")
    .Output("rstd: float").SetShapeFn(norm_shape);
REGISTER_OP("BlocksNormTrainGrad").Attr(kTypes).Attr("N: int >= 0").Attr("residual: bool").Attr("epsilon: float")
    .Attr(kActivations)
    .Input("dy: T").Input("x: T").Input("gamma: float").Input("beta: float").Input("mean: float").Input("rstd: float")
    .Input("y: N * T").Output("dx: T").Output("d_gamma: float").Output("d_beta: float").Output("d_residual: T")
    .SetShapeFn(norm_gradient_shape);
REGISTER_OP("BlocksAffine").Attr(kTypes).Attr("N: int >= 0").Attr(kActivations).Input("x: T").Input("scale: float")
    .Input("offset: float").Input("residual: N * T").Output("y: T").SetShapeFn(like_first);
REGISTER_OP("BlocksAffineGrad").Attr(kTypes).Attr("N: int >= 0").Attr("residual: bool").Attr(kActivations)
    .Input("dy: T").Input("x: T").Input("scale: float").Input("offset: float").Input("y: N * T").Output("dx: T")
    .Output("d_scale: float").Output("d_offset: float").Output("d_residual: T").SetShapeFn(norm_gradient_shape);
REGISTER_OP("BlocksLayerNorm").Attr(kTypes).Attr("epsilon: float").Input("x: T").Input("gamma: float")
    .Input("beta: float").Output("y: T").Output("mean: float").Output("rstd: float").SetShapeFn(layer_norm_shape);
REGISTER_OP("BlocksLayerNormGrad").Attr(kTypes).Attr("epsilon: float").Input("dy: T").Input("x: T")
    .Input("gamma: float").Input("mean: float").Input("rstd: float").Output("dx: T").Output("d_gamma: float")
    .Output("d_beta: float").SetShapeFn(layer_norm_gradient_shape);
REGISTER_OP("BlocksActivation").Attr(kTypes).Attr(kActivations).Input("x: T").Output("y: T").SetShapeFn(like_first);
REGISTER_OP("BlocksActivationGrad").Attr(kTypes).Attr(kActivations).Input("dy: T").Input("x: T").Output("dx: T")
    .SetShapeFn(like_first);
REGISTER_OP("BlocksBiasGrad").Attr(kTypes).Input("dy: T").Output("d_bias: float").SetShapeFn(bias_gradient_shape);
BLOCKS_SPATIAL("BlocksDepthwise").Attr("N: int >= 0").Attr(kActivations).Input("x: T").Input("kernel: float")
    .Input("bias: N * float").Output("y: T").SetShapeFn(spatial_shape);
BLOCKS_SPATIAL("BlocksDepthwiseInputGrad").Input("dy: T").Input("kernel: float").Input("shape: int32").Output("dx: T")
    .SetShapeFn(from_shape_input);
BLOCKS_SPATIAL("BlocksDepthwiseFilterGrad").Input("x: T").Input("dy: T").Input("shape: int32").Output("d_kernel: float")
    .SetShapeFn(from_shape_input);
BLOCKS_SPATIAL("BlocksSpatial").Attr("biases: int >= 0").Attr("N: int >= 0").Attr(kActivations).Input("x: T")
    .Input("kernel: float").Input("bias: biases * float").Input("residual: N * T").Output("y: T")
    .SetShapeFn(spatial_shape);
BLOCKS_SPATIAL("BlocksSpatialInputGrad").Input("dy: T").Input("kernel: float").Input("shape: int32").Output("dx: T")
    .SetShapeFn(from_shape_input);
BLOCKS_SPATIAL("BlocksSpatialFilterGrad").Input("x: T").Input("dy: T").Input("shape: int32").Output("d_kernel: float")
    .SetShapeFn(from_shape_input);
REGISTER_OP("BlocksPointwise").Attr(kTypes).Attr("biases: int >= 0").Attr("N: int >= 0").Attr(kActivations)
    .Input("x: T").Input("kernel: float").Input("bias: biases * float").Input("residual: N * T").Output("y: T")
    .SetShapeFn(pointwise_shape);
REGISTER_OP("BlocksPointwiseInputGrad").Attr(kTypes).Attr("groups: int").Input("dy: T").Input("kernel: float")
    .Output("dx: T").SetShapeFn(pointwise_input_gradient_shape);
REGISTER_OP("BlocksPointwiseFilterGrad").Attr(kTypes).Attr("groups: int").Input("x: T").Input("dy: T")
    .Output("d_kernel: float").SetShapeFn(pointwise_filter_gradient_shape);
// clang-format on

}  // namespace
}  // namespace blocks
