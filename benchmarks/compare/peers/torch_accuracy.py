"""The task of accuracy.ts in PyTorch: MiniLM in full, or with peft's LoRA, on the same tokens, batches and schedule.

    python torch_accuracy.py job.json        prints one line of JSON
"""

import json
import math
import sys

import torch
from memory import peak_bytes
from torch import nn
from torch_cell import prepare
from transformers import BertForSequenceClassification


def warmup_cosine(step, steps):
    """The schedule of @leantune/core with a tenth of the steps to warm up."""
    warm = math.ceil(steps / 10)
    if step < warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * min(1, (step - warm) / (steps - warm))))


def main():
    with open(sys.argv[1]) as f:
        job = json.load(f)
    torch.manual_seed(job["seed"])
    torch.set_num_threads(2)
    model = BertForSequenceClassification.from_pretrained(
        job["checkpoint"], variant="fp16", num_labels=job["classes"], dtype=torch.float32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    sets = {name: {key: torch.tensor(values) for key, values in job[name].items()} for name in ("train", "test")}
    tuned = prepare(model, job["method"].split(" + "))
    for name, parameter in tuned.named_parameters():
        if "pooler" in name:  # it trains beside every adapter in accuracy.ts, as the classifier does, which peft lets train anyway
            parameter.requires_grad_(True)
    trained = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["rate"], weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, len(job["batches"])))

    def loss(indices):
        return tuned(**{key: values[indices] for key, values in sets["train"].items()}).loss

    peak = peak_bytes(lambda: loss(job["batches"][0]).backward())
    for indices in job["batches"]:
        optimizer.zero_grad(set_to_none=True)
        loss(indices).backward()
        nn.utils.clip_grad_norm_(trained, 1)
        optimizer.step()
        scheduler.step()
    tuned.eval()
    with torch.no_grad():
        labels = sets["test"].pop("labels")
        guesses = torch.cat([tuned(**{k: v[i : i + 20] for k, v in sets["test"].items()}).logits.argmax(-1) for i in range(0, len(labels), 20)])
    accuracy = (guesses == labels).double().mean().item()
    print(json.dumps({"accuracy": accuracy, "trainable": sum(p.numel() for p in trained), "peakAboveWeights": peak}))


if __name__ == "__main__":
    main()
