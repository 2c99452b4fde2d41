"""Models, tokens, sites and activations: text goes in, rows of a network come out.

Nothing here knows a lake: values are numpy arrays and torch modules. Import from the modules;
``tokens``, ``windows`` and ``batches`` load without torch.
"""
