"""Layer names with dots on Keras's PyTorch backend."""

import keras


class DottedName:
    """Mixin, before the Keras class, for a layer whose name may have dots, as a module path of a reference has.

    Keras's PyTorch backend registers every weight under its path, which begins with the layer's name, and PyTorch
    refuses dots there. This writes a colon in the path for each; the name of the layer stays as it is, and so does
    the path on other backends.
    """

    def _track_variable(self, variable):
        if keras.backend.backend() == "torch":
            # Set before Keras reads it. The layer that creates a weight tracks it first, so layers and models that
            # contain this one see the new path too. Saved files do not have the path.
            variable._path = variable.path.replace(".", ":")
        super()._track_variable(variable)
