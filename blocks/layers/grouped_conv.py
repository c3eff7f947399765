"""What the grouped convolution layers of one, two and three dimensions have in common."""

import math

import keras

from blocks.layers.batch_norm import named_activation
from blocks.layers.dotted_names import DottedName
from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import data_format_of, output_shape, padding_of, per_axis
from blocks.ops.group_sizes import filters_of, groups_of, runs_of
from blocks.ops.grouped_conv import convolve_runs, implementation_of


class GroupedConvolution(DottedName, RealInputs, keras.layers.Layer):
    """Grouped convolution over `rank` axes; a subclass sets `rank` and has the arguments in its docstring."""

    rank: int

    def __init__(
        self,
        filters: int | tuple[int, ...],
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str | int | tuple = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        groups: int | tuple[int, ...] = 1,
        activation=None,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        implementation: str | None = None,
        **kwargs,  # name, dtype and trainable: the keywords of keras.layers.Layer
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.groups = groups_of(groups)
        self.filters_by_group = filters_of(filters, self.groups)
        self.filters = self.filters_by_group if isinstance(self.filters_by_group, int) else sum(self.filters_by_group)
        self.kernel_size = per_axis(kernel_size, "kernel_size", self.rank)
        self.strides = per_axis(strides, "strides", self.rank)
        self.padding = padding_of(padding, self.rank)
        self.data_format = data_format_of(data_format, keras.config.image_data_format())
        self.dilation_rate = per_axis(dilation_rate, "dilation_rate", self.rank)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.implementation = implementation_of(implementation, self.rank)
        self.bias = None
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def build(self, input_shape):
        channels = input_shape[self._channel_axis]
        if channels is None:
            raise ValueError(f"The number of input channels must be known to build {self.name}; got {input_shape}.")
        self.runs = runs_of(self.groups, self.filters_by_group, channels)
        self.compute_output_shape(input_shape)
        first = 0  # of the run's filters
        for name, run in zip(self._kernel_names, self.runs, strict=True):
            kernel = self.add_weight(
                name=name,
                shape=(*self.kernel_size, run.channels // run.groups, run.filters),
                initializer=self._initializer(run.filters, first),
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
                autocast=False,  # each way to convolve casts it as it needs it, or not at all
            )
            setattr(self, name, kernel)
            first += run.filters
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2, axes={self._channel_axis: channels})

    @property
    def _kernel_names(self) -> list[str]:
        return ["kernel"] if len(self.runs) == 1 else [f"kernel_{index}" for index in range(len(self.runs))]

    def _initializer(self, filters: int, first: int):
        """What a kernel of `filters` outputs, from number `first` on, begins as.

        One of several is those columns of a kernel for all outputs: scaled as if the groups were equal, and not the
        same random numbers as its neighbours.
        """
        if filters == self.filters:
            return self.kernel_initializer

        def columns(shape, dtype=None):
            return self.kernel_initializer((*shape[:-1], self.filters), dtype=dtype)[..., first : first + filters]

        return columns

    @property
    def kernels(self) -> list:
        """The kernel of every run of equal groups, in the order of their channels; [`kernel`] if all are equal.

        Raises ValueError before the layer is built.
        """
        if not self.built:
            raise ValueError(f"{self.name} has no weights yet: build it, or call it on an input.")
        return [getattr(self, name) for name in self._kernel_names]

    @property
    def macs_per_position(self) -> int:
        """Multiply-accumulates for one position of the output, all filters together, bias left out.

        Raises ValueError before the layer is built.
        """
        return sum(math.prod(kernel.shape) for kernel in self.kernels)

    def call(self, inputs, residual=None):
        if residual is not None:
            self._check_residual(inputs.shape, residual.shape)
        activation = named_activation(self.activation)
        outputs = convolve_runs(
            inputs,
            self.kernels,
            [run.channels for run in self.runs],
            self.strides,
            self.padding,
            self.dilation_rate,
            self.data_format,
            self.implementation,
            bias=self.bias,
            activation=activation,
            residual=residual,
        )
        return self.activation(outputs) if activation is None else outputs

    def _check_residual(self, inputs, residual) -> None:
        """Raise ValueError unless the shapes agree where they are known: an addition would repeat the smaller one."""
        expected, found = tuple(self.compute_output_shape(tuple(inputs))), tuple(residual)
        known = zip(expected, found, strict=False)
        if len(expected) != len(found) or any(a != b for a, b in known if None not in (a, b)):
            raise ValueError(
                f"A residual of shape {found} cannot be added to outputs of {expected}: both must be equal."
            )

    def compute_output_spec(self, inputs, residual=None):
        if residual is not None:
            self._check_residual(inputs.shape, residual.shape)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return output_shape(
            input_shape,
            self.filters,
            self.kernel_size,
            self.strides,
            self.dilation_rate,
            self.padding,
            self.data_format,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters_by_group,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
            "implementation": self.implementation,
        }
