// Operations of a training step that take all variables of a network at once: TensorFlow's own take one each, and to
// trace, optimise and start hundreds of them costs more than their arithmetic.
#include <atomic>

#include "op_kernel_utils.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"

namespace blocks {
namespace {

using tensorflow::Var;
typedef tensorflow::core::RefCountPtr<Var> Variable;

constexpr int64_t kSlice = 1 << 14;  // entries of a task: 64 KiB

bool lookup(OpKernelContext* c, int input, Variable* variable) {
  if (auto status = tensorflow::LookupResource(c, tensorflow::HandleFromInput(c, input), variable); !status.ok())
    c->CtxFailure(status);
  return c->status().ok();
}

// The entries of a variable, to be changed in place: copied before, where a reader still has them.
float* writable(OpKernelContext* c, Var* variable, int64_t count) {
  tensorflow::mutex_lock lock(*variable->mu());
  Tensor* tensor = variable->tensor();
  if (!variable->is_initialized || tensor->dtype() != tensorflow::DT_FLOAT || tensor->NumElements() != count) {
    c->CtxFailure(InvalidArgument("a variable of ", count, " entries of float32 was expected, but it is ",
                                  variable->is_initialized ? tensor->DebugString(0) : "not initialised"));
    return nullptr;
  }
  if (!tensor->RefCountIsOne() && !variable->copy_on_read_mode.load()) {
    Tensor copy;
    if (auto status = c->allocate_temp(tensor->dtype(), tensor->shape(), &copy); !status.ok()) {
      c->CtxFailure(status);
      return nullptr;
    }
    std::memcpy(copy.data(), tensor->data(), sizeof(float) * count);
    *tensor = copy;
  }
  return static_cast<float*>(tensor->data());
}

struct Slice {
  int variable;
  int64_t begin, end;
};

// Tensors cut into tasks of about equal length; small tensors are tasks as they are.
std::vector<Slice> slices(const std::vector<int64_t>& counts) {
  std::vector<Slice> all;
  for (int i = 0; i < int(counts.size()); ++i)
    for (int64_t begin = 0; begin < counts[i]; begin += kSlice)
      all.push_back({i, begin, std::min(counts[i], begin + kSlice)});
  return all;
}

class AllFinite : public OpKernel {
 public:
  explicit AllFinite(OpKernelConstruction* c) : OpKernel(c) {}
  void Compute(OpKernelContext* c) override {
    std::vector<int64_t> counts;
    for (int i = 0; i < c->num_inputs(); ++i) counts.push_back(c->input(i).NumElements());
    const auto tasks = slices(counts);
    std::atomic<bool> finite{true};
    parallel_of(c).run(tasks.size(), [&](int64_t task) {
      const Slice& s = tasks[task];
      const auto* x = static_cast<const float*>(c->input(s.variable).data());
      if (!kernels().all_finite(x + s.begin, s.end - s.begin)) finite = false;
    });
    Tensor* result = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(0, TensorShape({}), &result));
    result->scalar<bool>()() = finite;
  }
};

// What both optimizers have: `apply`, the learning rate, variables and gradients, and for each variable a factor of the
// rate and a weight decay.
class Update : public OpKernel {
 public:
  // `slots` are the variables that the optimizer has for each of the network's.
  Update(OpKernelConstruction* c, int scalars, int slots) : OpKernel(c), scalars_(scalars), slots_(slots) {
    OP_REQUIRES_OK(c, c->GetAttr("N", &count_));
    OP_REQUIRES_OK(c, c->GetAttr("rate_factors", &factors_));
    OP_REQUIRES_OK(c, c->GetAttr("decays", &decays_));
    OP_REQUIRES(c, int(factors_.size()) == count_ && int(decays_.size()) == count_,
                InvalidArgument("there are ", count_, " variables, ", factors_.size(), " factors of the rate and ",
                                decays_.size(), " decays"));
  }

  void Compute(OpKernelContext* c) override {
    for (int i = 0; i < scalars_; ++i)
      OP_REQUIRES(c, c->input(i).NumElements() == 1, InvalidArgument("input ", i, " is not a number"));
    if (!c->input(0).flat<bool>()(0)) return;
    const int gradients = scalars_ + count_ * (1 + slots_);
    std::vector<Variable> variables(count_ * (1 + slots_));
    std::vector<float*> entries(variables.size());
    std::vector<int64_t> counts;
    for (int i = 0; i < count_; ++i) counts.push_back(c->input(gradients + i).NumElements());
    for (size_t i = 0; i < variables.size(); ++i) {
      if (!lookup(c, scalars_ + int(i), &variables[i])) return;
      entries[i] = writable(c, variables[i].get(), counts[i % count_]);
      if (!c->status().ok()) return;
    }
    const auto tasks = slices(counts);
    parallel_of(c).run(tasks.size(), [&](int64_t task) {
      const Slice& s = tasks[task];
      float* at[3] = {};
      for (int slot = 0; slot <= slots_; ++slot) at[slot] = entries[slot * count_ + s.variable] + s.begin;
      const auto* gradient = static_cast<const float*>(c->input(gradients + s.variable).data()) + s.begin;
      const float rate = number(c, 1) * factors_[s.variable];
      step(c, rate, decays_[s.variable], gradient, at, s.end - s.begin);
    });
  }

 protected:
  static float number(OpKernelContext* c, int input) { return c->input(input).flat<float>()(0); }
  virtual void step(OpKernelContext* c, float rate, float decay, const float* gradient, float* const* at,
                    int64_t count) const = 0;

 private:
  int scalars_, slots_, count_ = 0;
  std::vector<float> factors_, decays_;
};

class AdamUpdate : public Update {
 public:
  explicit AdamUpdate(OpKernelConstruction* c) : Update(c, 5, 2) {
    OP_REQUIRES_OK(c, c->GetAttr("beta_1", &beta_1_));
    OP_REQUIRES_OK(c, c->GetAttr("beta_2", &beta_2_));
  }

 private:
  // apply, rate, beta_1 and beta_2 to the power of the step, epsilon
  void step(OpKernelContext* c, float rate, float decay, const float* gradient, float* const* at,
            int64_t count) const override {
    const float corrected = rate * std::sqrt(1 - number(c, 3)) / (1 - number(c, 2));
    kernels().adam({corrected, beta_1_, beta_2_, number(c, 4), rate * decay}, gradient, at[0], at[1], at[2], count);
  }

  float beta_1_, beta_2_;
};

class MomentumUpdate : public Update {
 public:
  explicit MomentumUpdate(OpKernelConstruction* c) : Update(c, 2, 1) {
    OP_REQUIRES_OK(c, c->GetAttr("momentum", &momentum_));
    OP_REQUIRES_OK(c, c->GetAttr("nesterov", &nesterov_));
    OP_REQUIRES_OK(c, c->GetAttr("rate_in_momentum", &rate_in_momentum_));
    OP_REQUIRES_OK(c, c->GetAttr("coupled", &coupled_));
  }

 private:
  void step(OpKernelContext*, float rate, float decay, const float* gradient, float* const* at,
            int64_t count) const override {
    kernels().descend(
        {rate, momentum_, nesterov_, rate_in_momentum_, coupled_ ? 0 : rate * decay, coupled_ ? decay : 0}, gradient,
        at[0], at[1], count);
  }

  float momentum_;
  bool nesterov_, rate_in_momentum_, coupled_;
};

// Averages that follow weights.
class MoveAverages : public OpKernel {
 public:
  explicit MoveAverages(OpKernelConstruction* c) : OpKernel(c) {}
  void Compute(OpKernelContext* c) override {  // apply, share, averages, values
    for (int i = 0; i < 2; ++i)
      OP_REQUIRES(c, c->input(i).NumElements() == 1, InvalidArgument("input ", i, " is not a number"));
    if (!c->input(0).flat<bool>()(0)) return;
    const float share = c->input(1).flat<float>()(0);
    const int count = (c->num_inputs() - 2) / 2;
    std::vector<Variable> variables(count);
    std::vector<float*> averages(count);
    std::vector<int64_t> counts;
    for (int i = 0; i < count; ++i) {
      counts.push_back(c->input(2 + count + i).NumElements());
      if (!lookup(c, 2 + i, &variables[i])) return;
      averages[i] = writable(c, variables[i].get(), counts[i]);
      if (!c->status().ok()) return;
    }
    const auto tasks = slices(counts);
    parallel_of(c).run(tasks.size(), [&](int64_t task) {
      const Slice& s = tasks[task];
      const auto* values = static_cast<const float*>(c->input(2 + count + s.variable).data());
      kernels().move_average(values + s.begin, share, averages[s.variable] + s.begin, s.end - s.begin);
    });
  }
};

// Variables get values, or stay as they are.
class AssignIf : public OpKernel {
 public:
  explicit AssignIf(OpKernelConstruction* c) : OpKernel(c) {}
  void Compute(OpKernelContext* c) override {  // assign, variables, values
    OP_REQUIRES(c, c->input(0).NumElements() == 1, InvalidArgument("assign is not a truth value"));
    if (!c->input(0).flat<bool>()(0)) return;
    const int count = (c->num_inputs() - 1) / 2;
    for (int i = 0; i < count; ++i) {
      Variable variable;
      if (!lookup(c, 1 + i, &variable)) return;
      const Tensor& value = c->input(1 + count + i);
      tensorflow::mutex_lock lock(*variable->mu());
      Tensor* tensor = variable->tensor();
      OP_REQUIRES(c, tensor->dtype() == value.dtype() && tensor->shape().IsSameSize(value.shape()),
                  InvalidArgument("a variable ", tensor->DebugString(0), " cannot be assigned ", value.DebugString(0)));
      *tensor = value;
      variable->is_initialized = true;
    }
  }
};

REGISTER_KERNEL_BUILDER(Name("BlocksAllFinite").Device(tensorflow::DEVICE_CPU), AllFinite);
REGISTER_KERNEL_BUILDER(Name("BlocksAdamUpdate").Device(tensorflow::DEVICE_CPU), AdamUpdate);
REGISTER_KERNEL_BUILDER(Name("BlocksMomentumUpdate").Device(tensorflow::DEVICE_CPU), MomentumUpdate);
REGISTER_KERNEL_BUILDER(Name("BlocksMoveAverages").Device(tensorflow::DEVICE_CPU), MoveAverages);
REGISTER_KERNEL_BUILDER(Name("BlocksAssignIf").Device(tensorflow::DEVICE_CPU), AssignIf);

}  // namespace
}  // namespace blocks
