"""What ``snnplug fit --help`` prints at once; the parser's own thousand lines need torch."""

from __future__ import annotations

TRAINING_HELP = """\
usage: snnplug {command} -c NAME|FILE [-c FILE ...] [--FIELD VALUE ...]

Later files and fields win over earlier ones. Values are YAML: --model.network.hidden [64]

run:
  -c, --config NAME|FILE              a packaged recipe, or a file of yours
  --ckpt_path last|RUN|FILE           go on with a run; a file: begin with its weights
  --backend NAME                      how the network runs: fused, eager, ...; see snnplug doctor
  --seed_everything N                 seed of all random numbers
  --test_after_fit true|false         test the best checkpoint after a fit
  --print_config                      every field and its value; runs nothing
  --trainer.fast_dev_run 1            one batch of everything; writes nothing
  --trainer.max_epochs N
  --trainer.accelerator cpu|gpu|auto
  --trainer.devices N
  --trainer.precision 32-true|bf16-mixed
  --trainer.gradient_clip_val X
  --trainer.enable_progress_bar true|false
  --trainer.callbacks+=CLASS          add a callback of Lightning, of ours or of yours

model and data:
  --data CLASS                        another data module; its fields: --data.num_steps N
  --data.batch_size N
  --data.num_workers N
  --model.network CLASS               another network; its fields: --model.network.hidden [64, 64]
  --model.loss CLASS
  --model.optimizer CLASS             its fields: --model.optimizer.lr 0.001
  --model.lr_scheduler CLASS

hardware and log:
  --hardware.target NAME|FILE         what the network is priced on; `snnplug targets` lists them
  --hardware.max_batches N            count the first batches of a pass only
  --energy.budget_nj X                train until an inference takes no more than this
  --checkpoint.monitor KEY            what the kept checkpoint is the best in; val/acc
  --checkpoint.mode max|min
  --pictures.every_n_epochs N         epochs between pictures; 0 draws none
  --trainer.logger CLASS              RunLogger (wandb), CSVLogger, TensorBoardLogger, MLFlowLogger
  --trainer.logger.project NAME
  --trainer.logger.save_dir FOLDER
  --trainer.logger.mode online|offline|disabled

  -h, --help                          this text
  --data.help CLASS                   every field of a class; also --model.network.help CLASS
  --help-all                          every option of every class, explained (takes seconds)
"""
