"""What TensorFlow exports under no public name and this project needs: all of it, and nothing else.

Seen in TensorFlow 2.21; `tests/test_internals.py` says what another version lacks.
"""

# The profiler's statistics: what an operation counts as, and the shapes that it has in a graph.
from tensorflow.python.framework.graph_util import tensor_shape_from_node_def_name
from tensorflow.python.framework.ops import OpStats, RegisterStatistics

# Whether a graph is traced for XLA, which has no kernels of custom operations.
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

__all__ = ["GraphOrParentsInXlaContext", "OpStats", "RegisterStatistics", "tensor_shape_from_node_def_name"]
