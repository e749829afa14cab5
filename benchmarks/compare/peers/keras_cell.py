"""A cell of Keras on its PyTorch backend, so that memory.py sees all it holds: full training, rematerialized, the head, or enable_lora.

    python keras_cell.py '<job as JSON>'        prints one line of JSON

MobileNetV2 and ResNet-50 are those of keras.applications; encoder and ViT are written with Keras's own layers here. SGD, float32, `train_on_batch`.
"""

import json
import os
import platform
import sys

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy
import torch
from keras import layers
from memory import kept_bytes, milliseconds, peak_bytes

RANK = 8


def attention_block(x, spec, before):
    """Norms before each part, as ViT has them, or behind, as BERT."""
    norm = lambda y: layers.LayerNormalization(epsilon=1e-12)(y)
    attend = layers.MultiHeadAttention(spec["heads"], spec["width"] // spec["heads"])
    inside = keras.Sequential([layers.Dense(spec["inner"], activation="gelu"), layers.Dense(spec["width"])])
    if before:
        y = norm(x)
        x = layers.add([x, attend(y, y)])
        return layers.add([x, inside(norm(x))])
    x = norm(layers.add([x, attend(x, x)]))
    return norm(layers.add([x, inside(x)]))


class Positions(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table


class ClassToken(layers.Layer):
    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="random_normal", name="token")

    def call(self, x):
        first = keras.ops.broadcast_to(self.token, (keras.ops.shape(x)[0], 1, x.shape[-1]))
        return keras.ops.concatenate([first, x], axis=1)


def encoder(spec, batch):
    ids = keras.Input((spec["tokens"],), dtype="int32")
    x = layers.LayerNormalization(epsilon=1e-12)(Positions()(layers.Embedding(spec["vocabulary"], spec["width"])(ids)))
    for _ in range(spec["layers"]):
        x = attention_block(x, spec, before=False)
    logits = layers.Dense(spec["classes"], name="head")(layers.GlobalAveragePooling1D()(x))
    return keras.Model(ids, logits), numpy.random.randint(spec["vocabulary"], size=(batch, spec["tokens"]))


def vit(spec, batch):
    images = keras.Input((spec["size"], spec["size"], 3))
    patches = layers.Conv2D(spec["width"], spec["patch"], spec["patch"])(images)
    x = Positions()(ClassToken()(layers.Reshape((-1, spec["width"]))(patches)))
    for _ in range(spec["layers"]):
        x = attention_block(x, spec, before=True)
    first = layers.Lambda(lambda y: y[:, 0])(layers.LayerNormalization(epsilon=1e-12)(x))
    return keras.Model(images, layers.Dense(spec["classes"], name="head")(first)), pixels(spec, batch)


def pixels(spec, batch):
    return numpy.random.rand(batch, spec["size"], spec["size"], 3).astype("float32")


def convolutional(spec, batch):
    make = {"mobilenet-v2": keras.applications.MobileNetV2, "resnet-50": keras.applications.ResNet50}[spec["name"]]
    if spec["width"] != 1:
        raise NotImplementedError("keras.applications has width 1 here")
    base = make(input_shape=(spec["size"], spec["size"], 3), weights=None, include_top=False, pooling="avg")
    return keras.Model(base.input, layers.Dense(spec["classes"], name="head")(base.output)), pixels(spec, batch)


def build(spec, batch):
    if spec["name"] == "decoder":
        raise NotImplementedError("Keras has no Llama of its own; KerasHub's fetches its weights")
    return {"encoder": encoder, "vit": vit}.get(spec["name"], convolutional)(spec, batch)


def select(model, words):
    """What trains: all; or the head, and with lora adapters beside kernels. A batch norm that does not train uses its statistics."""
    if "head" not in words and "lora" not in words:
        return
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if layer.name == "head" or list(layer._flatten_layers(include_self=False)):
            continue
        if "lora" in words and isinstance(layer, (layers.Dense, layers.EinsumDense, layers.Conv2D)) and not isinstance(layer, layers.DepthwiseConv2D):
            layer.enable_lora(RANK)
            if layer.bias is not None:
                layer.bias.trainable = False
        else:
            layer.trainable = False


def main():
    job = json.loads(sys.argv[1])
    spec, words = job["spec"], job["cell"]["method"].split(" + ")
    keras.utils.set_random_seed(job["seed"])
    torch.set_num_threads(job["threads"])
    with keras.RematScope(mode="full" if "checkpoint" in words else None):
        model, x = build(spec, job["batch"])
    parameters = sum(numpy.prod(w.shape) for w in model.weights)
    select(model, words)
    model.compile(optimizer=keras.optimizers.SGD(1e-4), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = torch.as_tensor(x), torch.as_tensor(numpy.random.randint(spec["classes"], size=job["batch"]))

    def step():
        model.zero_grad(set_to_none=True)
        return float(model.train_on_batch(x, y))

    loss = step()
    model.zero_grad(set_to_none=True)
    own = [*(w.value for w in model.weights), *(w.value for w in model.optimizer.variables), x, y]
    kept = kept_bytes(step, own)
    model.zero_grad(set_to_none=True)
    trained = sum(numpy.prod(w.shape) for w in model.trainable_weights)
    figures = {"peakAboveWeights": peak_bytes(step), "keptBytes": None if "checkpoint" in words else kept, "parameters": int(parameters), "trained": int(trained)}
    versions = {"keras": keras.__version__, "torch": torch.__version__.split("+")[0], "python": platform.python_version()}
    print(json.dumps({**figures, **milliseconds(step, job["steps"]), "loss": loss, "versions": versions}))


if __name__ == "__main__":
    main()
