from trainer.fitting.history import Epoch

ROW = {
    "epoch": 1,
    "loss": 0.5,
    "accuracy": 0.6,
    "watched_loss": 0.7,
    "watched_accuracy": 0.8,
    "watched_auroc": 0.9,
    "watched_mean_auroc": None,
    "seconds": 2.0,
    "images_per_second": 16.0,
}


def test_history_csv_and_checkpoints_keep_their_column_names():
    """Readers of earlier artifacts and unfinished fits of an earlier version find the same names in the same order."""
    epoch = Epoch.from_row(ROW)
    assert (epoch.validation_auroc, epoch.validation_loss) == (0.9, 0.7)
    assert list(epoch.as_row().items()) == list(ROW.items())
