// The operations as graphs see them: names, attributes, shapes.
#include "tensorflow/core/framework/op.h"

#include "shape_functions.h"

namespace blocks {
namespace {

// clang-format off: an operation's attributes, inputs and outputs, several on a line
constexpr char kActivations[] = "activation: {'', 'relu', 'relu6', 'hard_silu', 'silu', 'gelu'} = ''";
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
