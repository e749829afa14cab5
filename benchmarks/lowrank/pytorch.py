"""What peft's LoRA costs in PyTorch on the models, batches and targets of adapters.ts: bytes kept for backward, and the peak.

    python3 benchmarks/lowrank/pytorch.py [--rank 8] [--write]

Kept and peak are those of benchmarks/compare/peers/memory.py, of forward and backward.
Models have the checkpoints' shapes and random weights, on which bytes do not depend. Attention is PyTorch's default (sdpa), dropout is 0.
"""

import argparse
import json
import pathlib
import sys

import peft
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "compare" / "peers"))
from memory import kept_bytes, peak_bytes  # noqa: E402


def minilm():
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=20, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForSequenceClassification(config)
    batch = {"input_ids": torch.randint(1, 30000, (8, 128)), "attention_mask": torch.ones(8, 128, dtype=torch.long), "labels": torch.arange(8)}
    return model, batch, r".*encoder\.layer\.\d+\..*(query|key|value|dense)"


def stories():
    config = LlamaConfig(vocab_size=32000, hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6, max_position_embeddings=256, tie_word_embeddings=True)
    model = LlamaForCausalLM(config)
    ids = torch.randint(1, 32000, (4, 256))
    return model, {"input_ids": ids, "labels": ids}, r".*layers\.\d+\..*_proj"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = []
    for name, make in {"minilm": minilm, "stories15M": stories}.items():
        model, batch, targets = make()
        tuned = peft.get_peft_model(model, peft.LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=targets))
        tuned.train()

        def step():
            tuned(**batch).loss.backward()
            tuned.zero_grad(set_to_none=True)

        kept = kept_bytes(step, [*tuned.parameters(), *tuned.buffers(), *batch.values()])
        rows.append({"model": name, "trainable": sum(p.numel() for p in tuned.parameters() if p.requires_grad), "keptBytes": kept, "peakAboveWeights": peak_bytes(step)})
        print(rows[-1])
    if options.write:
        result = {"torch": torch.__version__, "peft": peft.__version__, "rank": options.rank, "rows": rows}
        (pathlib.Path(__file__).parent / "results" / "pytorch.json").write_text(json.dumps(result, indent=2) + "\n")
