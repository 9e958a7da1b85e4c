"""Margin softmax over millions of classes, sharded, exact or sampled."""
