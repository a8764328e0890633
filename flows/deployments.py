"""The flows that Prefect deployments name as entry points. Only this module imports Prefect at import time."""

from rubricator.flows.extract import extract
from rubricator.flows.predict import predict
from rubricator.flows.run import as_flow
from rubricator.flows.train import train

extract_flow = as_flow(extract, module=__name__)
train_flow = as_flow(train, module=__name__)
predict_flow = as_flow(predict, module=__name__)
